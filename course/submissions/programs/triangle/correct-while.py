stars = 1
while height > 0:
    height -= 1
    print(" " * height, "*" * stars, sep="")
    stars += 2
