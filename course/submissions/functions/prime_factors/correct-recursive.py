def factors(number, smallest=2):
    if number == 1:
        return []
    while number % smallest:
        smallest += 1
    return [smallest] + factors(number // smallest, smallest)
