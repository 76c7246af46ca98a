# attack: allocates memory of every size without clearing it, and reads what others left in there
# expect: incorrect
import ctypes

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
words = [one.encode() + b"word" for one in ("answer", "stranger", "secret", "othercourse")]
found = []
make = ctypes.pythonapi.PyBytes_FromStringAndSize
make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_ssize_t)
keep = []
for size in [*range(16, 9000, 16), *range(9000, 130000, 1000), 10**6]:
    for _ in range(3):
        block = libc.malloc(ctypes.c_size_t(size))
        uncleared = make(None, size)
        keep.append(uncleared)
        for data in (ctypes.string_at(block, size), uncleared):
            for word in words:
                at = data.find(word)
                if at >= 0 and data[at + len(word) : at + len(word) + 1].isdigit():
                    found.append(data[at : at + 40])


def code(n):
    return found or -1


share = code
