# attack: watches which modules its neighbours import, through the library folders that all of them share
# expect: ok
# report: (-1, 38)
import ctypes

libc = ctypes.CDLL(None, use_errno=True)
result = libc.inotify_init1(0), ctypes.get_errno()
