"""An environment: the tests put the year's BRACKETS into the learner's module before they call it."""

from grader_support import gradelib

QUIET_YEAR = [(0, 0.1), (10000, 0.2)]
HARD_YEAR = [(0, 0.0), (5000, 0.15), (20000, 0.3), (60000, 0.5)]

grader = gradelib.Grader()
grader.add_input_check(gradelib.must_define_function("tax"))
grader.add_input_check(
    gradelib.substring_occurs("BRACKETS", at_least=1, error_msg="Use BRACKETS: they change every year.")
)

for name, brackets in (("the quiet year", QUIET_YEAR), ("the hard year", HARD_YEAR)):
    for income in (0, 4999, 5000, 10000, 35000, 250000):
        grader.add_test(
            gradelib.InvokeStudentFunctionTest(
                "tax",
                [income],
                environment={"BRACKETS": brackets},
                output_writer=gradelib.round_float_writer(2),
                short_desc="tax(%d) in %s" % (income, name),
            )
        )
