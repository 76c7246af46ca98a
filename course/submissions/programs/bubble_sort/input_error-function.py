print(sorted(numbers))
