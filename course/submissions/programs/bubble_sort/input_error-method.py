numbers.sort()
print(numbers)
