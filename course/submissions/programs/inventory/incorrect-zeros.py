order = {}
for thing in wanted:
    order[thing] = max(0, wanted[thing] - stock.get(thing, 0))
