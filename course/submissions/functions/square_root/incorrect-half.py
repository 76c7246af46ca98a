def root(number):
    return number / 2
