"""Float tolerance by an own compare: any root within a relative error of 1e-6 is right.

`compare` gets two texts, and the second comes from a learner's process: it must survive anything. The
comparison is written so that a NaN is wrong (every comparison with a NaN is false).
"""

from grader_support import gradelib


def close_enough(expected, actual):
    try:
        wanted, got = float(expected), float(actual)
    except ValueError:
        return False
    return abs(wanted - got) <= 1e-6 * max(1.0, abs(wanted))


grader = gradelib.Grader()
grader.add_input_check(gradelib.must_define_function("root"))
grader.add_input_check(gradelib.prohibited_substring("sqrt"))
grader.add_input_check(gradelib.prohibited_operator("**"))

for number in (0.25, 1, 2, 10, 144, 1e-4, 123456.789):
    grader.add_test(
        gradelib.InvokeStudentFunctionTest(
            "root", [number], short_desc="root(%r)" % number, compare=close_enough
        )
    )
