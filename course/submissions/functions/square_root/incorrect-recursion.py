def root(number):
    return root(number + 1)
