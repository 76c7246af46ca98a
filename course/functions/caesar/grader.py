"""A helper module beside the grader, and a package beside it too; both are shipped into the sandbox.

Learners' code can read them there, so they hold inputs, never answers.
"""

import texts
from alphabets import latin

from grader_support import gradelib

grader = gradelib.Grader()
grader.add_input_check(gradelib.must_define_function("encode"))
grader.add_input_check(gradelib.prohibited_substring("maketrans"))

for text in texts.MESSAGES:
    for shift in latin.SHIFTS:
        grader.add_test(
            gradelib.InvokeStudentFunctionTest(
                "encode", [text, shift], short_desc="encode(%r, %d)" % (text, shift)
            )
        )
