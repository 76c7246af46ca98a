# Asks the resolver, which may have a connection that a program has not.
import socket

found = []
for name in ("localhost", "example.org"):
    try:
        found += socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM) if name != "localhost" else []
    except OSError:
        pass
if found:
    print("LEAK", found)
