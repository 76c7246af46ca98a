# attack: speaks the words of a failed lock-down, so that the service is blamed and nobody graded
# expect: error
import os

os.write(3, b"!1 unshare(0x20000): Operation not permitted")
os._exit(70)
