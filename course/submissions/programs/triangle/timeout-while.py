row = 1
while row <= height:
    " " * (height - row) + "*" * row
