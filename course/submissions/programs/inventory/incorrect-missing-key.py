order = {}
for thing in wanted:
    if wanted[thing] > stock[thing]:
        order[thing] = wanted[thing] - stock[thing]
