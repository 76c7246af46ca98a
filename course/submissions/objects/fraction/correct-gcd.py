import math


class Fraction:
    def __init__(self, numerator, denominator):
        if denominator < 0:
            numerator, denominator = -numerator, -denominator
        divisor = math.gcd(numerator, denominator)
        self.numerator, self.denominator = numerator // divisor, denominator // divisor

    def __add__(self, other):
        return Fraction(
            self.numerator * other.denominator + other.numerator * self.denominator, self.denominator * other.denominator
        )

    def __sub__(self, other):
        return Fraction(
            self.numerator * other.denominator - other.numerator * self.denominator, self.denominator * other.denominator
        )

    def __mul__(self, other):
        return Fraction(self.numerator * other.numerator, self.denominator * other.denominator)

    def __eq__(self, other):
        return self.numerator == other.numerator and self.denominator == other.denominator
