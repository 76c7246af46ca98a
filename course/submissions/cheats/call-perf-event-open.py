# Measures what others do.
import ctypes
import platform

number = {"x86_64": 298, "aarch64": 241}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(number, ctypes.create_string_buffer(128), 0, -1, -1, 0) >= 0:
    print("LEAK", "perf events")
