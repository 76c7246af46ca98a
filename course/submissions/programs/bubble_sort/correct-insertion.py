for i in range(1, len(numbers)):
    j = i
    while j > 0 and numbers[j - 1] > numbers[j]:
        spare = numbers[j]
        numbers[j] = numbers[j - 1]
        numbers[j - 1] = spare
        j = j - 1
print(numbers)
