"""An examination: the payload's `hide_output` keeps what was expected and what came out from the learner."""

from grader_support import gradelib

grader = gradelib.Grader()
grader.add_input_check(gradelib.must_define_function("fibonacci"))
grader.add_input_check(gradelib.prohibited_substring("lru_cache"))

for n in (0, 1, 2, 3, 10, 30, 90, 300):
    grader.add_test(gradelib.InvokeStudentFunctionTest("fibonacci", [n], short_desc="Number %d" % n))
