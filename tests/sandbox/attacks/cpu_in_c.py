# attack: burns CPU in C code that looks at no signals and gives the lock away
# expect: cpu
import hashlib

hashlib.pbkdf2_hmac("sha512", b"x", b"y", 1 << 30)
