# attack: an exception with a chain of causes that takes for ever to print
# expect: cpu output signal exit memory
error = None
for number in range(100000):
    one = ValueError("x" * 100)
    one.__cause__ = error
    error = one
raise error
