def find(higher_than, low, high):
    while higher_than(low):
        low += 1
    return low
