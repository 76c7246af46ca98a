# attack: one file under endless names
# expect: disk
import os

open("one", "w").close()
for number in range(100000):
    os.link("one", str(number))
