class Account:
    def __init__(self):
        self.money = 0

    def deposit(self, amount):
        self.money += amount

    def withdraw(self, amount):
        self.money -= amount
        if self.money < 0:
            raise ValueError

    def balance(self):
        return self.money
