def greatest(a, b):
    a, b = abs(a), abs(b)
    while b:
        a, b = b, a % b
    return a


class Fraction(object):
    def __init__(self, top, bottom):
        sign = 1 if bottom > 0 else -1
        g = greatest(top, bottom)
        self.numerator = sign * top // g
        self.denominator = sign * bottom // g

    def combine(self, other, sign):
        top = self.numerator * other.denominator + sign * other.numerator * self.denominator
        return Fraction(top, self.denominator * other.denominator)

    def __add__(self, other):
        return self.combine(other, 1)

    def __sub__(self, other):
        return self.combine(other, -1)

    def __mul__(self, other):
        return Fraction(self.numerator * other.numerator, self.denominator * other.denominator)

    def __eq__(self, other):
        return self.numerator * other.denominator == other.numerator * self.denominator
