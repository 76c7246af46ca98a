class Account:
    def __init__(self):
        self.money = 0

    def deposit(self, amount):
        self.money = self.money + amount

    def withdraw(self, amount):
        if self.money < amount:
            raise ValueError(amount)
        self.money = self.money - amount

    def balance(self):
        return self.money
