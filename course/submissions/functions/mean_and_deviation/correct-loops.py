from math import sqrt


def mean(values):
    total = 0
    count = 0
    for value in values:
        total += value
        count += 1
    return total / count


def deviation(values):
    middle = mean(values)
    squares = []
    for value in values:
        squares.append((value - middle) * (value - middle))
    return sqrt(mean(squares))
