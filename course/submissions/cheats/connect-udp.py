# Tells its secrets to a name server, IPv6 first.
import socket

found = []
for family, address in ((socket.AF_INET6, ("::1", 53)), (socket.AF_INET, ("8.8.8.8", 53))):
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as line:
            line.settimeout(0.2)
            line.sendto(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x03edx\x03org\x00\x00\x01\x00\x01", address)
            found.append(address)
    except OSError:
        pass
if found:
    print("LEAK", found)
