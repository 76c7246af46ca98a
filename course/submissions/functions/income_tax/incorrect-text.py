def tax(income):
    return "%.2f" % (income * BRACKETS[0][1])
