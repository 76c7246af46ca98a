def find(higher_than, low, high):
    while low < high:
        middle = (low + high) // 2
        if higher_than(middle):
            low = middle + 1
        else:
            high = middle - 1
    return low
