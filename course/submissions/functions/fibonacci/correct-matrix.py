def fibonacci(n):
    a, b, c, d = 1, 0, 0, 1
    p, q, r, s = 1, 1, 1, 0
    while n:
        if n % 2:
            a, b, c, d = a * p + b * r, a * q + b * s, c * p + d * r, c * q + d * s
        p, q, r, s = p * p + q * r, p * q + q * s, r * p + s * r, r * q + s * s
        n //= 2
    return b
