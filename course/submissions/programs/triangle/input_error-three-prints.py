for row in range(height):
    print(" " * (height - row - 1), end="")
    print("*" * (2 * row + 1), end="")
    print()
