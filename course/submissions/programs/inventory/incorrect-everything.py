order = {}
for thing in wanted:
    order[thing] = wanted[thing]
