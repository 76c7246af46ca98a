"""A class, its tests in a class: one test per method, the docstring is what the learner reads.

`compare_results` is shared by all of them. It reads the first word of each line only: what a learner's
exception says in addition is his own affair.
"""

from grader_support import gradelib


def first_words(text):
    return [line.split(None, 1)[0] for line in text.splitlines() if line.strip()]


class FifoTests:
    def test_1_order(self, submission_module):
        """First in, first out
        fifo = Fifo(); put 3, 1, 2; take three times"""
        fifo = submission_module.Fifo()
        for value in (3, 1, 2):
            fifo.put(value)
        for _value in range(3):
            print(repr(fifo.take()))

    def test_2_length(self, submission_module):
        """len() counts what is inside"""
        fifo = submission_module.Fifo()
        for value in "abcde":
            fifo.put(value)
            print(len(fifo))
        fifo.take()
        print(len(fifo))

    def test_3_empty(self, submission_module):
        """Taking from an empty Fifo raises LookupError or one of its kin"""
        fifo = submission_module.Fifo()
        fifo.put(gradelib.rand.randrange(100))
        print(fifo.take())
        try:
            print(fifo.take())
        except LookupError as error:
            print("LookupError:", error)

    def test_4_two_of_them(self, submission_module):
        """Two of them share nothing"""
        one, other = submission_module.Fifo(), submission_module.Fifo()
        one.put("one")
        other.put("other")
        print(len(one), len(other))
        print(other.take())
        print(one.take())

    def test_5_waves(self, submission_module):
        """Put and take in waves, a few hundred times"""
        fifo = submission_module.Fifo()
        total = 0
        for number in range(300):
            fifo.put(number * 7919 % 1000)
            if number % 3 == 2:
                total = total * 31 % 100003 + fifo.take()
        print(total)
        print(len(fifo))

    def compare_results(self, expected, actual):
        return first_words(expected) == first_words(actual)


grader = gradelib.Grader()
grader.add_input_check(gradelib.must_define_class("Fifo"))
grader.add_tests_from_class(FifoTests)
