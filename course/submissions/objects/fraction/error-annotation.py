class Fraction:
    def __init__(self, numerator: Integer, denominator: Integer):
        pass
