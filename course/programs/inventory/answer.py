order = {}
for thing in wanted:
    missing = wanted[thing] - stock.get(thing, 0)
    if missing > 0:
        order[thing] = missing
