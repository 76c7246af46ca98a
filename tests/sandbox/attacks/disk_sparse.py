# attack: a sparse file of a terabyte
# expect: exit
# reveals: File too large
with open("sparse", "wb") as file:
    file.truncate(1 << 40)
