def restock(stock, wanted):
    order = {}
    for thing in wanted:
        order[thing] = wanted[thing]
