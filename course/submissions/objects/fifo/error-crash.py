# A segmentation fault in the middle of a test.
import ctypes


class Fifo:
    def put(self, value):
        ctypes.string_at(8)
