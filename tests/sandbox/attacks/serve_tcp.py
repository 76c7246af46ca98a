# attack: opens a port for the outside
# expect: exit
# reveals: Permission denied
import socket

socket.create_server(("0.0.0.0", 8080)).accept()
