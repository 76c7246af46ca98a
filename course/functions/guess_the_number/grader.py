"""A test that ends itself: the learner gets a function to ask with, and too many questions end the test.

`end_test` raises EndTest through the learner's code. A program that catches it is found out: that is
interference, whatever it prints afterwards.
"""

from grader_support import gradelib

QUESTIONS = 11  # enough to halve 1..1000 ten times, and to say it

grader = gradelib.Grader()
grader.add_input_check(gradelib.must_define_function("find"))


def search_for(secret):
    def test(submission_module):
        asked = [0]

        def higher_than(number):
            asked[0] += 1
            if asked[0] > QUESTIONS:
                grader.end_test("More than %d questions asked." % QUESTIONS)
            return secret > number

        print(submission_module.find(higher_than, 1, 1000))

    return test


for secret in (1, 2, 333, 500, 501, 777, 999, 1000):
    grader.add_test(gradelib.Test(search_for(secret), "The secret is %d" % secret))
