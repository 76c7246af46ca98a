# attack: moves itself to other CPUs
# expect: exit
# reveals: not permitted
import os

os.sched_setaffinity(0, range(64))
