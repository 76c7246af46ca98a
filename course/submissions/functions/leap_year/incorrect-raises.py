def is_leap(year):
    if year == 2100:
        raise ValueError("that is too far away: <b>&amp;</b> ]]> $PATH")
    return year % 400 == 0 or (year % 4 == 0 and year % 100 != 0)
