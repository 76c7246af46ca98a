# Talks to daemons of the host over UNIX sockets, with names and without.
import socket

found = []
for name in (
    "/run/docker.sock", "/var/run/docker.sock", "/run/systemd/notify", "/run/dbus/system_bus_socket", "/dev/log",
    "\0/org/kernel/linux/storage/multipathd", "\0gdm", "/run/systemd/private",
):
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(0.2)
            line.connect(name)
            found.append(name)
    except OSError:
        pass
if found:
    print("LEAK", found)
