a, b, c = b, c, a
total = a + b + c
