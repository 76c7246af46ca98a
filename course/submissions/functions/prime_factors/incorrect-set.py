def factors(number):
    return sorted({d for d in range(2, 100) if number % d == 0 and all(d % e for e in range(2, d))})
