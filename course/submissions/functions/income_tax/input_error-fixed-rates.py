def tax(income):
    return income * 0.1 + max(0, income - 10000) * 0.1
