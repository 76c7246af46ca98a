# attack: one allocation above the limit
# expect: memory
# reveals: MemoryError
x = b"x" * (1 << 30)
