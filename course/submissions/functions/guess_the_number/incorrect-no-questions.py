def find(higher_than, low, high):
    return 500
