class Account:
    def deposit(self, amount):
        pass

    def withdraw(self, amount):
        pass

    def balance(self):
        return 0


raise KeyboardInterrupt
