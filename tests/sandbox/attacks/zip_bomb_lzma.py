# attack: an archive that asks for a dictionary larger than the memory
# expect: exit memory
import lzma

stream = lzma.compress(b"x" * 1000, format=lzma.FORMAT_ALONE)
header = bytearray(stream)
header[1:5] = (1 << 30).to_bytes(4, "little")
lzma.decompress(bytes(header))
