BRACKETS = [(0, 0.25)]


def tax(income, BRACKETS=BRACKETS):
    return sum((income - start) * rate for start, rate in BRACKETS)
