"""Plain function: the simplest kind. The right answer is run first; what it returns is what is expected."""

from grader_support import gradelib

grader = gradelib.Grader()
grader.add_input_check(gradelib.must_define_function("is_leap"))

for year in (1900, 1996, 1999, 2000, 2023, 2024, 2100, 2400, 4, 100, 400):
    grader.add_test(gradelib.InvokeStudentFunctionTest("is_leap", [year], short_desc="is_leap(%d)" % year))
