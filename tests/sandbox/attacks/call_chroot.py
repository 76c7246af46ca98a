# attack: the system call chroot
# expect: forbidden
import ctypes

ctypes.CDLL(None).chroot(b'/home')
