# attack: folders in folders, deeper than any path can say
# expect: disk
import os

while True:
    os.mkdir("deep")
    os.chdir("deep")
