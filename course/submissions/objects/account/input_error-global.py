money = 0


class Account:
    def deposit(self, amount):
        global money
        money += amount

    def withdraw(self, amount):
        pass

    def balance(self):
        return money
