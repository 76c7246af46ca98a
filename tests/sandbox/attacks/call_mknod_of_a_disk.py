# attack: a device node of the host's disk
# expect: forbidden
import os, stat

os.mknod("disk", 0o600 | stat.S_IFBLK, os.makedev(254, 0))
