a, b, c = b, c, a
total = str(a) + str(b) + str(c)
