input()
input()
print("Your name? Year of birth? Hello, Ada!")
print("In 2050 you will be 60 years old.")
