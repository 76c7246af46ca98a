lines = []
for row in range(height):
    blanks = height - row - 1
    lines.append(blanks * " " + (row + row + 1) * "*")
print("\n".join(lines))
