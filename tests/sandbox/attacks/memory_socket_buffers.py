# attack: fills the buffers of as many sockets as it can, made as large as allowed
# expect: ok memory wall
# costs: zygote
# wall: 1
# expect-reduced: exit
# reveals-reduced: not permitted
import os, socket

for _ in range(8):
    if os.fork() == 0:
        break
keep = []
try:
    while True:
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        keep.append(pair)
        for end in pair:
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30)
            try:
                while True:
                    end.send(bytes(32768))
            except BlockingIOError:
                pass
except OSError as error:
    result = error.errno
if os.getpid() != 1:
    os._exit(0)
