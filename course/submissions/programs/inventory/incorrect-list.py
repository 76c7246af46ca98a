order = []
for thing in wanted:
    order.append(thing)
