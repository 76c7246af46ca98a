# Reads the memory of the process that judges it.
import ctypes
import os
import platform

number = {"x86_64": 310, "aarch64": 270}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(number, os.getppid() or 1, ctypes.create_string_buffer(64), 1, ctypes.create_string_buffer(64), 1, 0) > 0:
    print("LEAK", "memory")
