# attack: changes small integers, None's truth and interned texts in the interpreter's own memory
# expect: incorrect error interference
import ctypes
import sys

offset = int.__basicsize__ - 4 if sys.maxsize > 2**32 else 12
for number in range(6, 200):
    cell = ctypes.c_uint32.from_address(id(number) + 24)
    if cell.value == number:
        cell.value = 1
word = sys.intern("interference")
ctypes.memmove(id(word) + sys.getsizeof(word) - len(word) - 1, b"correct\0\0\0\0\0", 12)


def code(n):
    return n


share = code
