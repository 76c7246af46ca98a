order = {}
for number in iter(int, 1):
    order[len(order)] = "x" * 100000 + str(len(order))
