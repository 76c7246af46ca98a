class Account:
    def deposit(self, amount):
        self.money += amount

    def withdraw(self, amount):
        self.money -= amount

    def balance(self):
        return self.money
