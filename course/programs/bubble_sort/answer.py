for end in range(len(numbers) - 1, 0, -1):
    for place in range(end):
        if numbers[place] > numbers[place + 1]:
            numbers[place], numbers[place + 1] = numbers[place + 1], numbers[place]
print(numbers)
