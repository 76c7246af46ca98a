# attack: reads the kernel's log
# expect: forbidden
import ctypes

buffer = ctypes.create_string_buffer(65536)
ctypes.CDLL(None).klogctl(3, buffer, 65536)
