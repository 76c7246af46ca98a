def root(number):
    return float("inf")
