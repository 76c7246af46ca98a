# attack: locks shared files of the host that nobody would be able to lock any more
# expect: ok
# expect-reduced: exit
# reveals-reduced: not permitted
import fcntl, os, time

if os.fork() == 0:
    os.setsid()
    file = open(os.__file__)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    time.sleep(1000)
result = True
