print(b, c, a)
total = None
