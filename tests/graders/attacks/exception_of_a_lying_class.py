# attack: exceptions that claim to be the end of the test, raised by the grader itself
# expect: incorrect interference
import sys

gradelib = sys.modules["grader_support.gradelib"]


class End(gradelib.EndTest):
    grader = sys.modules["grader"].grader

    def __init__(self):
        super().__init__("")

    def line(self):
        return "1\n"

    __traceback__ = property(lambda self: None, lambda self, value: None)


class Pretender(BaseException):
    __class__ = property(lambda self: gradelib.EndTest)
    grader = sys.modules["grader"].grader

    def line(self):
        return "1\n"


def code(n):
    raise End() if n % 2 else Pretender()


share = code
