for row in range(height):
    line = " " * (height - row - 1)
    line += "*" * (2 * row + 1)
    print(line)
