def find(higher_than, low, high):
    if low == high:
        return low
    middle = low + (high - low) // 2
    if higher_than(middle):
        return find(higher_than, middle + 1, high)
    return find(higher_than, low, middle)
