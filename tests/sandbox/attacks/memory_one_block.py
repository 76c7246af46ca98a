# attack: one allocation above the limit
# expect: exit
# reveals: MemoryError
x = b"x" * (1 << 30)
