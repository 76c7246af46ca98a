# attack: a netlink socket
# expect: exit
# reveals: Permission denied
import socket

socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
