def root(number):
    x = number if number > 1 else 1
    for _ in range(100):
        x = 0.5 * (x + number / x)
    return x
