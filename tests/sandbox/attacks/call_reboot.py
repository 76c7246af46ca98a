# attack: restarts the machine
# expect: forbidden
import ctypes

ctypes.CDLL(None).reboot(0x1234567)
