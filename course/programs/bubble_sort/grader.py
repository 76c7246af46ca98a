"""A program that is watched at work: `trace_wrapped_code` executes it and lets an inspector look on.

What it prints at its end is tested by the first tests. The last one counts the steps, so that sorting by
library call, or not in place, is told apart.
"""

import sys

from grader_support import gradelib

NUMBERS = [5, 1, 4, 2, 8, 7]


class LineCounter:
    """Runs the program on NUMBERS under sys.settrace, and counts how often the list changed between two lines."""

    def __init__(self):
        self.source = ""
        self.changes = []

    def set_source(self, source):
        self.source = source

    def __enter__(self):
        return self

    def __exit__(self, *error):
        sys.settrace(None)
        return False

    def inspect_dispatch(self):
        numbers = list(NUMBERS)
        seen = [list(numbers)]

        def watch(frame, event, argument):
            if frame.f_code.co_filename != "<program>":
                return None
            if numbers != seen[-1]:
                seen.append(list(numbers))
            return watch

        program = compile(self.source, "<program>", "exec")
        with gradelib.capture_stdout():
            sys.settrace(watch)
            try:
                exec(program, {"numbers": numbers})
            finally:
                sys.settrace(None)
        if numbers != seen[-1]:
            seen.append(list(numbers))
        print("in the end:", numbers)
        yield sorted(NUMBERS) == numbers
        neighbours = all(swapped_neighbours(before, after) for before, after in zip(seen, seen[1:]))
        yield neighbours
        print("orders seen:", sum(sorted(order) == sorted(NUMBERS) for order in seen))


def swapped_neighbours(before, after):
    """Whether the two differ by one swap of neighbours, or by the half of one (one value is there twice)."""
    places = [place for place, pair in enumerate(zip(before, after)) if pair[0] != pair[1]]
    return len(before) == len(after) and len(places) <= 2 and (not places or places[-1] - places[0] <= 1)


grader = gradelib.Grader()
grader.add_preprocessor(gradelib.wrap_in_string)
grader.add_input_check(gradelib.prohibited_substring("sort("))
grader.add_input_check(gradelib.prohibited_substring("sorted"))

for numbers in ([3, 1, 2], [], [9, 8, 7, 6, 5], [1, 1, 0, -4]):
    grader.add_test(gradelib.ExecWrappedStudentCodeTest({"numbers": list(numbers)}, "numbers = %r" % numbers))
grader.add_test(
    gradelib.Test(
        gradelib.trace_wrapped_code(
            LineCounter(), "The list is not sorted in place, neighbour by neighbour."
        ),
        "Only neighbours change places",
    )
)
