def tax(income):
    total = 0.0
    for start, rate in reversed(BRACKETS):
        if income > start:
            total += (income - start) * rate
            income = start
    return total
