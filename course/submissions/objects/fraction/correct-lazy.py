from math import gcd


class Fraction:
    def __init__(self, n, d):
        self.n, self.d = (n, d) if d > 0 else (-n, -d)

    @property
    def numerator(self):
        return self.n // gcd(self.n, self.d)

    @property
    def denominator(self):
        return self.d // gcd(self.n, self.d)

    def __add__(self, other):
        return Fraction(self.n * other.d + other.n * self.d, self.d * other.d)

    def __sub__(self, other):
        return Fraction(self.n * other.d - other.n * self.d, self.d * other.d)

    def __mul__(self, other):
        return Fraction(self.n * other.n, self.d * other.d)

    def __eq__(self, other):
        return self.n * other.d == other.n * self.d
