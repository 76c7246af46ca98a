def root(number):
    return complex(pow(number, 0.5), 0)
