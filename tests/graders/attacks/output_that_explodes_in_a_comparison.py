# attack: brings the staff's comparison to its limit, so that the course is alarmed
# expect: incorrect
# course: careless


def code(n):
    return n


def share(n):
    return int("1" * 60)
