"""A data file beside the grader: found through __file__, because a pass has a working directory of its own.

Answers whose order does not matter are compared as what they are, not as they were printed: the
output_writer puts them in order.
"""

import os

from grader_support import gradelib

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "poem.txt"), encoding="utf-8") as lines:
    STANZAS = lines.read().split("\n\n")


def in_order(words):
    return repr(sorted(words))


grader = gradelib.Grader()
grader.add_input_check(gradelib.must_define_function("longest_words"))

for number, stanza in enumerate(STANZAS, 1):
    grader.add_test(
        gradelib.InvokeStudentFunctionTest(
            "longest_words", [stanza], output_writer=in_order, short_desc="Stanza %d" % number
        )
    )
grader.add_test(
    gradelib.InvokeStudentFunctionTest(
        "longest_words", [""], output_writer=in_order, short_desc="No words at all"
    )
)
