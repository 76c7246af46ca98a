# Connects to the queue, to well-known services of the host, and to the cloud's metadata.
import socket

found = []
for address in (("127.0.0.1", 18040), ("127.0.0.1", 22), ("127.0.0.1", 80), ("169.254.169.254", 80), ("1.1.1.1", 53)):
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as line:
            line.settimeout(0.2)
            line.connect(address)
            found.append(address)
    except OSError:
        pass
if found:
    print("LEAK", found)
