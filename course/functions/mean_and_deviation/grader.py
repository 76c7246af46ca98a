"""Floats: `round_float_writer` prints as many digits as may be asked of a learner's arithmetic."""

from grader_support import gradelib

SAMPLES = (
    [1, 2, 3, 4],
    [2.5, 2.5, 2.5],
    [0.1] * 10,
    [1e6, 1e6 + 1, 1e6 + 2],
    [-3.75, 12.5, 0.0, 8.25, 1.125],
)

grader = gradelib.Grader()
grader.add_input_check(gradelib.must_define_function("mean"))
grader.add_input_check(gradelib.must_define_function("deviation"))
grader.add_input_check(gradelib.prohibited_substring("statistics", "Do the arithmetic yourself, please."))

for sample in SAMPLES:
    for name in ("mean", "deviation"):
        grader.add_test(
            gradelib.InvokeStudentFunctionTest(
                name,
                [sample],
                output_writer=gradelib.round_float_writer(6),
                short_desc="%s(%r)" % (name, sample),
            )
        )
