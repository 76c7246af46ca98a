# attack: changes the code of the running test functions, so that later tests print what earlier ones did
# expect: incorrect error interference
import sys

grader = sys.modules["grader"].grader


def easy(module):
    print(1)


def code(n):
    for test in grader.tests():
        inner = test._test_fn
        if inner.__code__.co_freevars == easy.__code__.co_freevars:
            inner.__code__ = easy.__code__
        else:
            test._test_fn = easy
        type(test).__call__ = lambda self, module: print(1)
    grader._end_tests = -100
    return 1


share = code
