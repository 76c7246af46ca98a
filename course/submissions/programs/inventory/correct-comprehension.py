order = {thing: wanted[thing] - stock.get(thing, 0) for thing in wanted}
order = {thing: number for thing, number in order.items() if number > 0}
