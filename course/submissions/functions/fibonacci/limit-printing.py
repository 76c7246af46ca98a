def fibonacci(n):
    while True:
        print("still computing", "." * 10000)
