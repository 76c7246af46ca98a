# attack: a segment descriptor of its own
# expect: forbidden
import ctypes

ctypes.CDLL(None).syscall(154, 1, ctypes.create_string_buffer(16), 16)
