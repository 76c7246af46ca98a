import statistics

mean = statistics.mean


def deviation(values):
    return statistics.pstdev(values)
