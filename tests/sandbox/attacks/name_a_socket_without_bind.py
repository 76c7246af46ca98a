# attack: gets an abstract name for a socket without bind (by asking for credentials), for other jails to find
# expect: ok
# report: [None, '', '']
import socket

result = []
one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
try:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    result.append("credentials")
except OSError:
    result.append(None)
one.send(b"x")
two.send(b"x")
result += [one.getsockname(), two.getsockname()]
