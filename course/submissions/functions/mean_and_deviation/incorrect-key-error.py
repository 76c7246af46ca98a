def mean(values):
    return {}["mean"]


def deviation(values):
    return mean(values)
