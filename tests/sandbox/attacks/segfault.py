# attack: reads address zero
# expect: signal
import ctypes

ctypes.string_at(0)
