# attack: epolls that watch epolls that watch epolls
# expect: ok
import select

outer = [select.epoll()]
result = 0
try:
    for _ in range(50):
        inner = select.epoll()
        inner.register(outer[-1], select.EPOLLIN)
        outer.append(inner)
    for one in outer:
        for other in outer:
            other.register(one, select.EPOLLIN)
except OSError as error:
    result = error.errno
