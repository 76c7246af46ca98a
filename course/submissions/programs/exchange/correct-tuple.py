a, b, c = b, c, a
total = f"{a}{b}{c}"
