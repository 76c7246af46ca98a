# attack: puts a file in the place of the report's descriptor and keeps the pipe for itself
# expect: interference
import os

pipe = os.dup(3)
os.dup2(os.open("taken", os.O_RDWR | os.O_CREAT), 3)
os.write(pipe, b"\0\0\0\x02{}")


def code(n):
    return 1


share = code
