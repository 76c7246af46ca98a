low, high = 0, len(numbers) - 1
while low < high:
    for i in list(range(low, high)) + list(range(high - 1, low - 1, -1)):
        if numbers[i] > numbers[i + 1]:
            numbers[i], numbers[i + 1] = numbers[i + 1], numbers[i]
    low += 1
    high -= 1
print(numbers)
