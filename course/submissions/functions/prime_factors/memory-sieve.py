def factors(number):
    sieve = bytearray(1 << 34)
    return [number] if sieve else []
