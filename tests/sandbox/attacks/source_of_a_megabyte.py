# attack: a source of one megabyte
# expect: cpu ok memory
# repeat: 70000
x = [1, 2, 3]
