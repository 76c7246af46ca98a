order = {}
for thing, number in wanted.items():
    have = stock[thing] if thing in stock else 0
    if number > have:
        order[thing] = number - have
