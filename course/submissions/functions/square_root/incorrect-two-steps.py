def root(number):
    x = number
    for _ in range(2):
        x = 0.5 * (x + number / x)
    return x
