for row in range(height):
    print(("*" * (2 * row + 1)).center(2 * height - 1))
