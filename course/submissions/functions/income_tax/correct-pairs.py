BRACKETS = []


def tax(income):
    total = 0
    for number, (start, rate) in enumerate(BRACKETS):
        end = BRACKETS[number + 1][0] if number + 1 < len(BRACKETS) else income
        part = min(income, end) - start
        if part > 0:
            total += part * rate
    return total
