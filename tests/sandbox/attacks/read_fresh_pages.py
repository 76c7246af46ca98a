# attack: maps, remaps, unmaps and advises pages, and looks whether they ever come back with somebody's text
# expect: ok
# report: []
import ctypes, mmap, os

result = []
for _ in range(4):
    for flags in (mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS):
        with mmap.mmap(-1, 4 << 20, flags=flags) as pages:
            if pages[:].count(0) != len(pages):
                result.append(flags)
            pages[:8192] = b"y" * 8192
            pages.madvise(mmap.MADV_DONTNEED)
            if flags & mmap.MAP_PRIVATE and pages[:8192].strip(b"\0"):
                result.append("dontneed")
zero = os.open("/dev/zero", os.O_RDWR)
for flags in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
    with mmap.mmap(zero, 1 << 20, flags=flags) as pages:
        if pages[:].strip(b"\0"):
            result.append("zero")
        pages[:5] = b"hello"
