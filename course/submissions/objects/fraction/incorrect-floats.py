class Fraction:
    def __init__(self, numerator, denominator):
        self.numerator, self.denominator = numerator / denominator, 1

    def __add__(self, other):
        return Fraction(self.numerator + other.numerator, 1)

    def __sub__(self, other):
        return Fraction(self.numerator - other.numerator, 1)

    def __mul__(self, other):
        return Fraction(self.numerator * other.numerator, 1)

    def __eq__(self, other):
        return self.numerator == other.numerator
