# attack: closes all descriptors and sleeps
# expect: wall
# wall: 0.5
import os, time

os.closerange(0, 64)
time.sleep(1000)
