name = input("Your name? ")
year = input("Year of birth? ")
sure = input("Are you sure? ")
