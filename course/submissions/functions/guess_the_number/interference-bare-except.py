def find(higher_than, low, high):
    for number in range(low, high + 1):
        try:
            if not higher_than(number):
                return number
        except:
            return number
