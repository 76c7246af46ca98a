# attack: reads and clears the kernel's log
# expect: forbidden
import ctypes

ctypes.CDLL(None).klogctl(4, ctypes.create_string_buffer(4096), 4096)
