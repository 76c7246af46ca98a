# attack: sends from a connected pair to other addresses: paths and abstract names of the host, and the internet
# expect: ok
# report: []
import ctypes, socket, struct

libc = ctypes.CDLL(None)
result = []
inet = struct.pack("=H", socket.AF_INET) + struct.pack(">H", HOST["udp_port"]) + bytes([127, 0, 0, 1]) + bytes(8)
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM | 0x800):
    try:
        mine, other = socket.socketpair(socket.AF_UNIX, kind)
    except OSError:
        continue
    for address in (HOST["datagram"], HOST["unix"], "\0" + HOST["abstract"], "/home/learner/x"):
        for flags in (0, socket.MSG_DONTWAIT, 0x20000000):  # MSG_FASTOPEN
            for send in (lambda: mine.sendto(b"x", flags, address), lambda: mine.sendmsg([b"x"], [], flags, address)):
                try:
                    send()
                    if not other.recv(1, socket.MSG_DONTWAIT):  # a stream takes no notice of addresses
                        result.append(address)
                except OSError:
                    pass
    if kind == socket.SOCK_DGRAM and libc.sendto(mine.fileno(), b"x", 1, 0, inet, 16) >= 0:
        result.append("inet")
    if libc.connect(mine.fileno(), inet, 16) >= 0:
        result.append("connected")
