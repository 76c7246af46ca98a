def mean(values):
    return sum(values) // len(values)


def deviation(values):
    m = mean(values)
    return (sum((v - m) ** 2 for v in values) / len(values)) ** 0.5
