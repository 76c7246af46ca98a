# attack: switches quotas off
# expect: forbidden
import ctypes

ctypes.CDLL(None).quotactl(0x800003, b"/dev/vda", 0, None)
