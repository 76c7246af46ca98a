spare = a
a = b
b = c
c = spare
total = ""
for thing in (a, b, c):
    total = total + str(thing)
print("whatever is printed does not matter", total)
