# attack: closes its output, opens something else in its place, and prints
# expect: ok
# report: 'still served'
import os, sys

os.close(1)
os.close(2)
file = os.open("mine", os.O_WRONLY | os.O_CREAT)
os.dup2(file, 1)
print("into the void", flush=True)
result = "still served"
