# attack: fork bomb
# expect: processes
import os

while True:
    os.fork()
