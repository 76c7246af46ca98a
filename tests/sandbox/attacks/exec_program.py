# attack: executes another program
# expect: exit
# reveals: Permission denied
import os, sys

os.execv(sys.executable, [sys.executable, "-c", "pass"])
