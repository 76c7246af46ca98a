# attack: turns the clock
# expect: forbidden
import ctypes

ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
