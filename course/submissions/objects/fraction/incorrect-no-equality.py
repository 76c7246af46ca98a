from math import gcd


class Fraction:
    def __init__(self, numerator, denominator):
        divisor = gcd(numerator, denominator) * (1 if denominator > 0 else -1)
        self.numerator, self.denominator = numerator // divisor, denominator // divisor

    def __add__(self, other):
        return Fraction(
            self.numerator * other.denominator + other.numerator * self.denominator, self.denominator * other.denominator
        )

    def __sub__(self, other):
        return self + Fraction(-other.numerator, other.denominator)

    def __mul__(self, other):
        return Fraction(self.numerator * other.numerator, self.denominator * other.denominator)
