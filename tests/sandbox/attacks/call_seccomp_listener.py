# attack: a filter of its own with a listener, which would answer system calls in the kernel's place
# expect: forbidden
import ctypes, struct

code = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0x7FC00000))
program = ctypes.create_string_buffer(struct.pack("@HP", 1, ctypes.addressof(code)))
ctypes.CDLL(None).syscall(317, 1, 8, program)
