# attack: looks for POSIX shared memory, named semaphores and message queues, and makes its own
# expect: ok
# report: []
# only: full
import ctypes, os

libc = ctypes.CDLL(None, use_errno=True)
result = []
for make in (os.O_RDWR, os.O_RDWR | os.O_CREAT):
    if libc.shm_open(b"/warden", make, 0o666) >= 0:
        result.append("shm_open")
    if libc.syscall(240, b"warden", make, 0o666, None) >= 0:
        result.append("mq_open")
libc.sem_open.restype = ctypes.c_void_p
if libc.sem_open(b"/warden", os.O_CREAT, 0o666, 1):
    result.append("sem_open")
result += [path for path in ("/dev/shm", "/dev/mqueue", "/run/shm") if os.path.exists(path)]
