from dataclasses import dataclass


@dataclass
class Account:
    money: int = 0

    def deposit(self, amount: int) -> None:
        self.money += amount

    def withdraw(self, amount: int) -> None:
        rest = self.money - amount
        if rest < 0:
            raise ValueError("rest < 0")
        self.money = rest

    def balance(self) -> int:
        return self.money
