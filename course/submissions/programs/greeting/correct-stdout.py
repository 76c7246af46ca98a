import sys

print("Your name? ", end="")
name = input()
year = int(input("Year of birth? "))
sys.stdout.write("Hello, %s!\n" % name)
sys.stdout.writelines(["In 2050 ", "you will be %d years old." % (2050 - year), "\n"])
