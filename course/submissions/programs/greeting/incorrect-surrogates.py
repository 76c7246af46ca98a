name = input("Your name? ")
year = input("Year of birth? ")
print("\ud800\udfff", name, "\x00\x0b")
