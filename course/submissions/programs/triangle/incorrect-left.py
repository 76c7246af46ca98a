for row in range(height):
    print("*" * (2 * row + 1))
