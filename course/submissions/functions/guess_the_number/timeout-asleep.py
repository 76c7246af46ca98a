import time


def find(higher_than, low, high):
    time.sleep(3600)
    return low
