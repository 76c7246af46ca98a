class Account:
    def __init__(self):
        self.money = 0

    def deposit(self, amount):
        self.money += amount

    def withdraw(self, amount):
        assert amount <= self.money, "not enough"
        self.money -= amount

    def balance(self):
        return self.money
