# attack: shared anonymous memory, which belongs to nobody's heap
# expect: memory exit
import mmap

keep = []
while True:
    block = mmap.mmap(-1, 8 << 20)
    for offset in range(0, len(block), 4096):
        block[offset] = 1
    keep.append(block)
