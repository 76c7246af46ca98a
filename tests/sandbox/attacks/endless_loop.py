# attack: burns CPU for ever
# expect: cpu
while True:
    pass
