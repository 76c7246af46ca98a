def factors(number):
    return primes_of(number)


FIRST = primes_of(10)
