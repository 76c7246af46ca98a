import sys

while height:
    height += 1
    sys.__stdout__.write("*" * height * 1000)
    sys.__stdout__.flush()
