from collections import deque

seats = deque([a, b, c])
seats.rotate(-1)
a, b, c = seats
total = "".join(map(str, seats))
