def fibonacci(n):
    known = [0, 1]
    while len(known) <= n:
        known.append(known[-1] + known[-2])
    return known[n]
