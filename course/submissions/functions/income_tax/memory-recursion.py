def tax(income, *more):
    return tax(income, BRACKETS * 5_000_000, more)
