def tax(income):
    return income * max([rate for start, rate in BRACKETS if income > start], default=0)
