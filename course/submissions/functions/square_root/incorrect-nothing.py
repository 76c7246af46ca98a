def root(number):
    pow(number, 0.5)
