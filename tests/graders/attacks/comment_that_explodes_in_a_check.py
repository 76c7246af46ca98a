# attack: brings the staff's check of the text to its limit, so that the course is alarmed
# expect: input_error
# course: careless
# aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!


def code(n):
    return n


def share(n):
    return n
