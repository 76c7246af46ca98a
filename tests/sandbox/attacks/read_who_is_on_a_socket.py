# attack: asks a socket pair who is at its other end, outside of its namespaces
# expect: ok
# report: [True, 1000, 1000]
# only: full
import os, socket, struct

one, other = socket.socketpair()
pid, uid, gid = struct.unpack("3i", one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
result = [pid == os.getpid(), uid, gid]
for option in (59, 31):  # SO_PEERGROUPS, SO_PEERSEC
    try:
        said = one.getsockopt(socket.SOL_SOCKET, option, 256)
        names = [gid for (gid,) in struct.iter_unpack("i", said)] if option == 59 else [said]
        result += [name for name in names if name not in (1000, 65534)]
    except OSError:
        pass
