"""A preprocessor: the learner writes the middle of a program whose head and tail are given.

The head defines `stock`; the tail defines the function that the tests call. Line numbers that a learner
sees count from his own first line where the grader can help it; here the head is one line long.
"""

from grader_support import gradelib

HEAD = "def restock(stock, wanted):\n"
TAIL = "\n    return order\n"


def complete(text):
    body = "\n".join("    " + line for line in text.splitlines())
    return HEAD + body + TAIL


grader = gradelib.Grader()
grader.add_preprocessor(complete)
grader.add_input_check(gradelib.required_keyword("for"))
grader.add_input_check(gradelib.prohibited_function_definition("restock"))
grader.add_input_check(gradelib.prohibited_substring("return"))
grader.add_input_check(gradelib.token_occurs("order", at_least=2))

for stock, wanted in (
    ({"nut": 3, "bolt": 0}, {"nut": 5, "bolt": 2}),
    ({"nut": 9}, {"nut": 5, "screw": 7}),
    ({}, {}),
    ({"washer": 1, "nail": 2, "cog": 4}, {"washer": 1, "nail": 4, "cog": 5}),
):
    grader.add_test(
        gradelib.InvokeStudentFunctionTest(
            "restock",
            [stock, wanted],
            output_writer=lambda order: repr(sorted(order.items())),
            short_desc="stock %r, wanted %r" % (stock, wanted),
        )
    )
