# attack: sends from a connected pair to other addresses: paths and abstract names of the host, and the internet
# expect: ok
# report: []
import socket, struct

result = []
mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
inet = struct.pack("=H", socket.AF_INET) + struct.pack(">H", HOST["udp_port"]) + bytes([127, 0, 0, 1]) + bytes(8)
for address in (HOST["datagram"], HOST["unix"], "\0" + HOST["abstract"], "/home/learner/x"):
    for flags in (0, socket.MSG_DONTWAIT, 0x20000000):  # MSG_FASTOPEN
        try:
            mine.sendto(b"the answer", flags, address)
            result.append(address)
        except OSError:
            pass
        try:
            mine.sendmsg([b"the answer"], [], flags, address)
            result.append(address)
        except OSError:
            pass
import ctypes

libc = ctypes.CDLL(None)
if libc.sendto(mine.fileno(), b"x", 1, 0, inet, 16) >= 0:
    result.append("inet")
if libc.connect(mine.fileno(), inet, 16) >= 0:
    result.append("connected")
