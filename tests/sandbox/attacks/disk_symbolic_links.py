# attack: symbolic links whose targets are the data
# expect: disk
import os

for number in range(100000):
    os.symlink("x" * 4000, str(number))
