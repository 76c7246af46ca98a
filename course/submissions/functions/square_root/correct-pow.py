def root(number):
    return pow(number, 0.5)
