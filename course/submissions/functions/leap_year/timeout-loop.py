def is_leap(year):
    while year != 0:
        year = year - 400 if year > 0 else year + 100
    return True
