# attack: announces a report of no bytes and leaves with success
# expect: interference
import os

os.write(3, b"\0\0\0\0")
os._exit(0)
