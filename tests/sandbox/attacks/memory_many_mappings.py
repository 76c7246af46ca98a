# attack: as many mappings as it can get, each another line in the kernel's book
# expect: memory cpu exit
import mmap

keep = []
while True:
    keep.append(mmap.mmap(-1, 4096, prot=1 + len(keep) % 2 * 2))
