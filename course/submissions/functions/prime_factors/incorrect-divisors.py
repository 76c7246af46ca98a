def factors(number):
    return [d for d in range(1, 1000) if number % d == 0]
