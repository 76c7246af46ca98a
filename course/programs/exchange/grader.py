"""Values instead of output: the program is executed, then the named variables are looked at.

`scratch` is how the learner got there; nobody asks for it.
"""

from grader_support import gradelib

grader = gradelib.Grader()
grader.add_preprocessor(gradelib.wrap_in_string)
grader.add_input_check(gradelib.required_operator("="))

for first, second, third in ((1, 2, 3), ("x", "y", "z"), (0.5, -7, "seven")):
    grader.add_test(
        gradelib.Test(
            gradelib.exec_code_and_inspect_values(
                {"a": first, "b": second, "c": third}, ["a", "b", "c", "total"]
            ),
            "a=%r, b=%r, c=%r: everyone moves one seat to the left" % (first, second, third),
        )
    )
