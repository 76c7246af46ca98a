# attack: a gigabyte packed into a megabyte
# expect: memory cpu
import zlib

packer = zlib.compressobj(9, zlib.DEFLATED, -15)
piece = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
zlib.decompress(piece * 1024 + packer.flush(), -15)
