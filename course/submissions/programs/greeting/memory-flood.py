name = input("Your name? ")
print(("Hello, " + name + "! ") * (1 << 34))
