LOWEST = BRACKETS[0]


def tax(income):
    return income * LOWEST[1]
