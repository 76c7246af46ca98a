def search(higher_than, low, high):
    return low
