# attack: announces a report of four gigabytes, so that the trusted side allocates or waits for it
# expect: error
import os

os.write(3, b"\xff\xff\xff\xff{}")
os._exit(0)
