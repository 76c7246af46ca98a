"""A program that prints: the learner's text is wrapped in a string, and every test executes it anew.

`environment` holds the names that the program finds set, here the function it reads its input with.
"""

from grader_support import gradelib


def answers(*lines):
    waiting = list(lines)

    def read(prompt=""):
        print(prompt, end="")
        return waiting.pop(0)

    return {"input": read}


grader = gradelib.Grader()
grader.add_preprocessor(gradelib.wrap_in_string)
grader.add_input_check(gradelib.required_substring("input"))

for name, year in (("Ada", "1990"), ("Grace Hopper", "2006"), ("Đorđe", "1971")):
    grader.add_test(gradelib.ExecWrappedStudentCodeTest(answers(name, year), "%s, born in %s" % (name, year)))
