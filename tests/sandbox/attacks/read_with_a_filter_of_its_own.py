# attack: a filter of its own whose listener would see and answer other processes' calls
# expect: forbidden
import ctypes, struct

code = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7FC00000))
program = struct.pack("@HP", 1, ctypes.addressof(code))
ctypes.CDLL(None).syscall(317, 1, 8, program)
