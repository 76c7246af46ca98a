# attack: gets an abstract name for a socket without bind (by asking for credentials), for other jails to find
# expect: ok
# report: []
import socket

result = []
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    try:
        ends = socket.socketpair(socket.AF_UNIX, kind)
    except OSError:
        continue
    for end in ends:
        try:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            result.append("credentials")
        except OSError:
            pass
        end.send(b"x")
        if end.getsockname():
            result.append(end.getsockname())
