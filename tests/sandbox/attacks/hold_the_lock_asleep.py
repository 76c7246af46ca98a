# attack: sleeps in C code that keeps the interpreter's lock, so that no handler of ours could ever run
# expect: wall
# wall: 0.5
import ctypes

ctypes.PyDLL(None).sleep(1000)
