from bisect import bisect_left


class Answers:
    def __init__(self, higher_than):
        self.higher_than = higher_than

    def __getitem__(self, number):
        return not self.higher_than(number)


def find(higher_than, low, high):
    return bisect_left(Answers(higher_than), True, low, high)
