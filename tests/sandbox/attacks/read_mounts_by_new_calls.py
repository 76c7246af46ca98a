# attack: lists mounts, page cache and security modules by the calls that are newer than most filters
# expect: ok
# report: []
import ctypes, struct

libc = ctypes.CDLL(None, use_errno=True)
room = ctypes.create_string_buffer(65536)
request = struct.pack("=IIQQQ", 32, 0, 0xFFFFFFFFFFFFFFFF, 0, 0)
result = []
for name, number, arguments in (
    ("statmount", 457, (request, room, 65536, 0)), ("listmount", 458, (request, room, 1000, 0)),
    ("cachestat", 451, (0, bytes(16), room, 0)), ("lsm_get_self_attr", 459, (100, room, bytes(8), 0)),
    ("lsm_list_modules", 461, (room, bytes(8), 0)), ("sysfs", 139, (3,)), ("ustat", 136, (1, room)),
    ("_sysctl", 156, (room,)), ("get_mempolicy", 239, (room, room, 64, 0, 0)), ("getxattrat", 464, (-100, b"/", 0, b"x", room, 16)),
):
    if libc.syscall(number, *arguments) >= 0:
        result.append(name)
