class Fraction:
    """A fraction

    def __init__(self, numerator, denominator):
        pass
