import math


def root(number):
    return math.sqrt(number)
