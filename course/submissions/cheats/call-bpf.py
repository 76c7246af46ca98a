# Loads a program into the kernel.
import ctypes
import platform

number = {"x86_64": 321, "aarch64": 280}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(number, 0, ctypes.create_string_buffer(64), 64) >= 0:
    print("LEAK", "bpf")
