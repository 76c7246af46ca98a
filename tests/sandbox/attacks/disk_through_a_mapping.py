# attack: fills the scratch through mapped pages of sparse files, where no write can fail
# expect: disk memory
import mmap

for number in range(8):
    with open(str(number), "w+b") as file:
        file.truncate(4 << 20)
        block = mmap.mmap(file.fileno(), 4 << 20)
        for offset in range(0, len(block), 4096):
            block[offset] = 1
