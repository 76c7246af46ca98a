count = int(input())
print(sum(float(input()) for _ in range(count)) / count * 9 / 5 + 32)
