class Account(Bank):
    def deposit(self, amount):
        pass

    def withdraw(self, amount):
        pass

    def balance(self):
        return 0
