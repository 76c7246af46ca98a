# attack: keys that all have the same hash
# expect: cpu
keys = {number * ((1 << 61) - 1) for number in range(100000)}
