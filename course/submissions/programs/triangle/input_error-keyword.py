line = lambda row: " " * (height - row - 1) + "*" * (2 * row + 1)
for row in range(height):
    print(line(row))
