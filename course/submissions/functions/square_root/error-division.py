START = 1 / 0


def root(number):
    return START
