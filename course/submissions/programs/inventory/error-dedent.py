order = {}
    for thing in wanted:
        order[thing] = 1
