order = {}
for thing in iter(lambda: "nut", "bolt"):
    order[thing] = 1
