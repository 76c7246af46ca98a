"""Not graded: the payload says skip_grader, and whatever a learner hands in earns the point.

The grader stays beside it, for the day the course wants to grade it after all.
"""

from grader_support import gradelib

grader = gradelib.Grader()
grader.add_preprocessor(gradelib.wrap_in_string)
grader.add_test(gradelib.ExecWrappedStudentCodeTest({}, "It prints something"))
