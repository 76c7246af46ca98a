# attack: an abstract unix socket
# expect: exit
# reveals: Permission denied
import socket

s = socket.socket(socket.AF_UNIX)
s.bind("\0warden")
