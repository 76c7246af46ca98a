"""Seeded randomness: `gradelib.rand` draws the same numbers for the answer and for the learner.

Other learners get other numbers, so a table of yesterday's results is worth nothing.
"""

from grader_support import gradelib

PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)

grader = gradelib.Grader()
grader.add_input_check(gradelib.must_define_function("factors"))

for count in (1, 2, 3, 5, 8):
    number = 1
    for _prime in range(count):
        number *= gradelib.rand.choice(PRIMES)
    grader.add_test(
        gradelib.InvokeStudentFunctionTest("factors", [number], short_desc="factors(%d)" % number)
    )
