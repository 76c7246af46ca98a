# attack: burns CPU in C code that keeps the interpreter's lock
# expect: cpu
sum(range(10 ** 14))
