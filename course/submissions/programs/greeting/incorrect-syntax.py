# A program in a string is compiled by the tests: so a syntax error is a wrong output, in every one of them.
name = input("Your name? "
print("Hello, " + name
