def factors(number):
    return [d for d in range(number) if number % d == 0]
