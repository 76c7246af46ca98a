# attack: makes files of memory that it never wrote, and looks for what somebody else had in there
# expect: ok
# report: []
import mmap, os

result = []
for number, grow in enumerate((os.ftruncate, lambda fd, size: os.posix_fallocate(fd, 0, size), os.ftruncate)):
    fd = os.open("grown%d" % number, os.O_RDWR | os.O_CREAT)
    grow(fd, 1 << 20)
    with mmap.mmap(fd, 1 << 20) as view:
        if view[:].strip(b"\0"):
            result.append(number)
        view[:4096] = b"z" * 4096
    os.ftruncate(fd, 0)
    os.ftruncate(fd, 1 << 20)
    if os.pread(fd, 1 << 20, 0).strip(b"\0"):
        result.append(("again", number))
    os.unlink("grown%d" % number)
    os.close(fd)
