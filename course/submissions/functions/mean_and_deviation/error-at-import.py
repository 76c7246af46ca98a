def mean(values):
    return sum(values) / len(values)


def deviation(values):
    return mean(values)


print(mean([]))
