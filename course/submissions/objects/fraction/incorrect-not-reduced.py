class Fraction:
    def __init__(self, numerator, denominator):
        self.numerator, self.denominator = numerator, denominator

    def __add__(self, other):
        return Fraction(
            self.numerator * other.denominator + other.numerator * self.denominator, self.denominator * other.denominator
        )

    def __sub__(self, other):
        return self + Fraction(-other.numerator, other.denominator)

    def __mul__(self, other):
        return Fraction(self.numerator * other.numerator, self.denominator * other.denominator)

    def __eq__(self, other):
        return self.numerator * other.denominator == other.numerator * self.denominator
