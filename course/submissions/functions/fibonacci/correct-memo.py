known = {0: 0, 1: 1}


def fibonacci(n):
    for k in range(2, n + 1):
        if k not in known:
            known[k] = known[k - 1] + known[k - 2]
    return known[n]
