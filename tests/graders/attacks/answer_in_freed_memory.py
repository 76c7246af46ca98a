# attack: searches the pages around every object for what is left of the answer, executes it, and is right
# expect: incorrect
import ctypes
import gc

libc = ctypes.CDLL(None)
vector = (ctypes.c_ubyte * 1)()
words = [one.encode() + b"word" for one in ("answer", "stranger", "secret", "othercourse")]
seen, found = set(), []


def readable(page):
    return libc.mincore(ctypes.c_void_p(page), ctypes.c_size_t(4096), vector) == 0


def search(start, step):
    page = start & ~4095
    while page not in seen and readable(page):
        seen.add(page)
        data = ctypes.string_at(page, 4096)
        for word in words:
            at = data.find(word)
            while at >= 0:
                if data[at + len(word) : at + len(word) + 1].isdigit():
                    found.append(ctypes.string_at(page + at, 200 if at > 3800 else 400))
                at = data.find(word, at + 1)
        page += step


for thing in gc.get_objects():
    search(id(thing), 4096)
    search(id(thing), -4096)
libc.malloc.restype = ctypes.c_void_p
for size in (24, 500, 1500, 5000, 50000, 120000):
    block = libc.malloc(ctypes.c_size_t(size))
    search(block, 4096)
    search(block, -4096)


def code(n):
    for text in found:
        number = text.partition(b" = ")[2][:5]
        if number.isdigit():
            return (n * int(number) + 11) % 2147483647
    return [text[:30] for text in found]


def share(n):
    return code(n) / 2147483647
