def tax(income):
    return BRACKETS[99][0]
