for row in reversed(range(height)):
    print(" " * (height - row - 1) + "*" * (2 * row + 1))
