import sys

name = sys.stdin.readline()
year = sys.stdin.readline()
print("Hello, " + name + "!")
