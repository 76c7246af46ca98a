# attack: outputs that the staff's comparison chokes on: not a number, too deep, of half a million digits
# expect: incorrect
monsters = ["nan", "9" * 250000, "(" * 5000 + "\0" + "\u0663.\u0665" + "_1" + " " * 50000]


class Monster:
    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


def code(n):
    return -1


def share(n):
    return Monster(monsters[n // 35 % 3])
