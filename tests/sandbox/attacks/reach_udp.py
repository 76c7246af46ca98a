# attack: sends a datagram to the host
# expect: exit
# reveals: Permission denied
import socket

sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.sendto(b"the answer", ("127.0.0.1", HOST["udp_port"]))
