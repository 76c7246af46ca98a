rest = numbers
result = []
while rest:
    smallest = min(rest)
    result.append(smallest)
    position = rest.index(smallest)
    rest = rest[:position] + rest[position + 1 :]
print(result)
