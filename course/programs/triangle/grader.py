"""Printed output, input checks of several kinds, and texts in the learner's language.

`_` translates: the texts stand in conf/locale of the grader root, the payload's `lang` picks the language.
"""

from grader_support import gradelib

grader = gradelib.Grader()
grader.add_preprocessor(gradelib.wrap_in_string)
grader.add_input_check(gradelib.one_of_required_keywords(["for", "while"], _("Use a loop.")))
grader.add_input_check(gradelib.prohibited_keyword("lambda"))
grader.add_input_check(
    gradelib.substring_occurs("print", at_most=2, error_msg=_("Two calls of print are more than enough."))
)
grader.add_input_check(
    gradelib.input_check_or(
        _("Use the variable height."),
        gradelib.required_substring("height"),
        gradelib.required_substring("globals"),
    )
)
grader.add_input_check(gradelib.count_non_comment_lines(at_most=60))

for height in (1, 2, 3, 7):
    grader.add_test(
        gradelib.ExecWrappedStudentCodeTest(
            {"height": height},
            _("A triangle of height {height}").format(height=height),
            _("Every line is centred: blanks in front, none behind."),
        )
    )
