# attack: gives the machine another name
# expect: forbidden
import ctypes

ctypes.CDLL(None).sethostname(b"owned", 5)
