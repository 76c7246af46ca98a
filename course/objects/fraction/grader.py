"""Operators. The tests never ask a learner's object whether it equals something, nor print its own words:

they read its numbers, make plain integers of them, and print those. An object that claims to equal
everything, or that says of itself what it likes, gains nothing.
"""

from grader_support import gradelib


def parts(fraction):
    return "%d/%d" % (int(fraction.numerator), int(fraction.denominator))


def arithmetic(one, other):
    def test(submission_module):
        left, right = submission_module.Fraction(*one), submission_module.Fraction(*other)
        print(parts(left), parts(right))
        print(parts(left + right), parts(left - right), parts(left * right))
        print(1 if left == right else 0, 1 if left == submission_module.Fraction(*one) else 0)

    return test


grader = gradelib.Grader()
grader.add_input_check(gradelib.must_define_class("Fraction"))
grader.add_input_check(gradelib.prohibited_substring("fractions"))

for one, other in (
    ((1, 2), (1, 3)),
    ((2, 4), (-1, 2)),
    ((3, -9), (5, 1)),
    ((0, 7), (7, 7)),
    ((84, 36), (10, 4)),
):
    grader.add_test(gradelib.Test(arithmetic(one, other), "%d/%d and %d/%d" % (one + other)))
