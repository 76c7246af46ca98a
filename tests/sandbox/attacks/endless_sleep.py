# attack: sleeps for ever
# expect: wall
# wall: 0.5
import time

time.sleep(1000)
