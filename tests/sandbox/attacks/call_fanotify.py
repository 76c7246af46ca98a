# attack: watches whole mounts
# expect: forbidden
import ctypes

ctypes.CDLL(None).fanotify_init(0, 0)
