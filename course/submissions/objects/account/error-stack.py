# Runs the C stack over, which no exception catches.
class Account:
    def deposit(self, amount):
        pass

    def withdraw(self, amount):
        pass

    def balance(self):
        import os
        import signal

        os.kill(os.getpid(), signal.SIGSEGV)
        os.abort()
