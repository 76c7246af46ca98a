# attack: results of subclasses of str, int and float that say something else each time they are asked
# expect: incorrect error interference
import itertools

counter = itertools.count()


class Moving:
    def _ask(self, *anything):
        return str(next(counter))

    __str__ = __repr__ = __format__ = _ask

    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    def __hash__(self):
        return next(counter)

    def encode(self, *anything):
        return b"1"

    def isascii(self):
        return False

    def __len__(self):
        return 2**40

    def __iter__(self):
        return itertools.repeat("1")


class Text(Moving, str):
    pass


class Integer(Moving, int):
    pass


class Float(Moving, float):
    def __float__(self):
        return float("nan")


def code(n):
    return (Text("1"), Integer(1))[n % 2]


def share(n):
    return Float(0.5)
