# attack: hopes that where one output cannot be compared, the others count as the same
# expect: incorrect
# course: careless


def code(n):
    return n


def share(n):
    return int("1" * 60) if n == 700 else 0.5
