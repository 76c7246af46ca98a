def root(number):
    low, high = 0.0, max(1.0, number)
    for _ in range(200):
        middle = (low + high) / 2
        if middle * middle < number:
            low = middle
        else:
            high = middle
    return high
