# attack: looks for System V shared memory, semaphores and queues of others, and makes its own
# expect: ok
# report: []
import ctypes

libc = ctypes.CDLL(None, use_errno=True)
result = []
for name, number, arguments in (
    ("shmget", 29, (0x1234, 4096, 0o1666)), ("shmat", 30, (0, None, 0)), ("shmctl", 31, (0, 14, bytes(200))),
    ("semget", 64, (0x1234, 1, 0o1666)), ("semctl", 66, (0, 0, 19, bytes(200))),
    ("msgget", 68, (0x1234, 0o1666)), ("msgctl", 71, (0, 12, bytes(200))),
):
    if libc.syscall(number, *arguments) >= 0:
        result.append(name)
