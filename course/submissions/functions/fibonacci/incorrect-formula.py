def fibonacci(n):
    # Right for small n; then a float has no digits left.
    root = 5 ** 0.5
    return int(((1 + root) / 2) ** n / root + 0.5)
