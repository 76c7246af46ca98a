for row in range(height):
    print(" " * (height - row - 1) + "*" * (2 * row + 1))
