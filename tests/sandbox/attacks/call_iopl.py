# attack: opens the ports of the hardware
# expect: forbidden
import ctypes

ctypes.CDLL(None).iopl(3)
