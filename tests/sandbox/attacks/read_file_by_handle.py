# attack: asks for the handle of a file, to open it where the path does not lead
# expect: forbidden
import ctypes

handle = (ctypes.c_uint * 40)(128)
mount = ctypes.c_int()
ctypes.CDLL(None).syscall(303, -100, b"/", handle, ctypes.byref(mount), 0)
