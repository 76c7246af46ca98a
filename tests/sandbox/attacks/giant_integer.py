# attack: an integer that takes hours
# expect: cpu exit
x = 9 ** (9 ** 9)
