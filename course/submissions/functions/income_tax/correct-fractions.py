from fractions import Fraction


def tax(income):
    total = Fraction(0)
    for start, rate in sorted(BRACKETS, reverse=True):
        taxed = max(0, income - start)
        total += taxed * Fraction(str(rate))
        income -= taxed
    return float(total)
