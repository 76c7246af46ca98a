class Overdrawn(ValueError):
    pass


class Account:
    def __init__(self):
        self.movements = []

    def deposit(self, amount):
        self.movements.append(amount)

    def withdraw(self, amount):
        if amount > self.balance():
            raise Overdrawn("%d more than there is" % (amount - self.balance()))
        self.movements.append(-amount)

    def balance(self):
        return sum(self.movements)
