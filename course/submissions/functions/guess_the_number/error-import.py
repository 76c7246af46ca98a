from numbers import Guess


def find(higher_than, low, high):
    return Guess(low)
