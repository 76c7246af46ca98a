# Asks the kernel about the network with sockets that are not of the internet's kind.
import socket

found = []
for family, kind, protocol in ((16, socket.SOCK_RAW, 0), (17, socket.SOCK_RAW, 768), (38, socket.SOCK_SEQPACKET, 0), (40, socket.SOCK_STREAM, 0)):
    try:
        socket.socket(family, kind, protocol).close()
        found.append(family)
    except OSError:
        pass
if found:
    print("LEAK", "socket families", found)
