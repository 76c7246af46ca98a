# attack: many small objects
# expect: memory cpu
keep = None
while True:
    keep = (keep, object())
