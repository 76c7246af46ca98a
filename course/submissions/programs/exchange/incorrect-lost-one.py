a = b
b = c
c = a
total = str(a) + str(b) + str(c)
