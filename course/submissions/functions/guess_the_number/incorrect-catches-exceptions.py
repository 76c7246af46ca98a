# Catches only what it expects, so the test ends when it should: wrong, no interference.
def find(higher_than, low, high):
    try:
        while higher_than(low):
            low += 1
    except ZeroDivisionError:
        pass
    return low
