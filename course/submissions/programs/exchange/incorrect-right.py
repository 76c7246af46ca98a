a, b, c = c, a, b
total = "".join([str(a), str(b), str(c)])
