@undefined
def fibonacci(n):
    return n
