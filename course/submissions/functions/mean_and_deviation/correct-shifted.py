import math


def mean(values):
    first = values[0]
    return first + math.fsum(v - first for v in values) / len(values)


def deviation(values):
    return math.sqrt(max(0.0, mean([(v - mean(values)) ** 2 for v in values])))
