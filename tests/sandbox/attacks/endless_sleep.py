# attack: sleeps for ever
# expect: wall
import time

time.sleep(1000)
