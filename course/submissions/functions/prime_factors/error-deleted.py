def factors(number):
    return [number]


del factors, number
