a, b, c = b, c, a
total = str(a) * (1 << 40)
