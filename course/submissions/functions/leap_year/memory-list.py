def is_leap(year):
    years = [0] * (10**10)
    return years[year]
