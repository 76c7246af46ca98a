BRACKETS = [(0, 0.25)]


def tax(income):
    total = 0.0
    upper = [start for start, _ in BRACKETS[1:]] + [float("inf")]
    for (start, rate), end in zip(BRACKETS, upper):
        if income > start:
            total += (min(income, end) - start) * rate
    return total
