name, year = input("Your name? "), input("Year of birth? ")
age = 2050 - int(year)
print(f"Hello, {name}!\nIn 2050 you will be {age} years old.")
