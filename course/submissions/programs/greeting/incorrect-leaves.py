name = input("Your name? ")
year = int(input("Year of birth? "))
print("Hello, " + name + "!")
raise SystemExit("In 2050 you will be %d years old." % (2050 - year))
