# attack: connects to a socket file of the host
# expect: exit
# reveals: Permission denied
import socket

stream = socket.socket(socket.AF_UNIX)
stream.connect(HOST["unix"])
