# Prints while it is imported; the tests look at what the function returns.
print("Hello from the module")


def is_leap(year):
    return not year % 4 and bool(year % 100) or not year % 400


if __name__ == "__main__":
    print(is_leap(int(input())))
