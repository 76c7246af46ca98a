a, b, c = b, c a
