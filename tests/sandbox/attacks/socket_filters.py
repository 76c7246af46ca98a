# attack: programs for the kernel's filter machine, attached to a socket
# expect: ok
# report: []
import ctypes, socket, struct

result = []
left, right = socket.socketpair()
code = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0xFFFF))
program = struct.pack("@HP", 1, ctypes.addressof(code))
# ATTACH_FILTER LOCK_FILTER ATTACH_BPF ATTACH_REUSEPORT_CBPF ATTACH_REUSEPORT_EBPF SNDBUFFORCE RCVBUFFORCE MARK PASSCRED
for option in (26, 44, 50, 51, 52, 32, 33, 36, 16):
    for value in (program, struct.pack("=i", 3)):
        try:
            left.setsockopt(socket.SOL_SOCKET, option, value)
            result.append(option)
        except OSError:
            pass
