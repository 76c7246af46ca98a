# attack: files in memory without a name, which no limit on files or address space counts
# expect: ok
# report: [-1, -1, -1]
import ctypes

libc = ctypes.CDLL(None)
result = [libc.memfd_create(b"x", 0), libc.shmget(0, 1 << 20, 0o1600), libc.shm_open(b"/x", 0o102, 0o600)]
