from collections import Counter

order = Counter(wanted) - Counter(stock)
for thing in list(order):
    order[thing] = int(order[thing])
