for row in range(4):
    print(" " * (3 - row) + "*" * (2 * row + 1))
