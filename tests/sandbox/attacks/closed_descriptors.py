# attack: closes all descriptors and sleeps
# expect: wall
import os, time

os.closerange(0, 64)
time.sleep(1000)
