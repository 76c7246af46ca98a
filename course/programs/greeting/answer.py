name = input("Your name? ")
year = int(input("Year of birth? "))
print("Hello, " + name + "!")
print("In 2050 you will be", 2050 - year, "years old.")
