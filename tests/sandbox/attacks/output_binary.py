# attack: output that is no text in any encoding, with control sequences for the terminal of whoever reads it
# expect: ok
import os, random

os.write(1, b"\x1b]0;owned\x07\x1b[2J\xff\xfe\x00\xc3\x28\xed\xa0\x80" + random.randbytes(65536))
os.write(2, b"\r\x08\x7f\x9b31m" * 1000)
result = True
