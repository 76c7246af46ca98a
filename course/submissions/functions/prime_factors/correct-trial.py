def factors(number):
    result = []
    d = 2
    while d * d <= number:
        while number % d == 0:
            result.append(d)
            number //= d
        d += 1
    if number > 1:
        result.append(number)
    return result
