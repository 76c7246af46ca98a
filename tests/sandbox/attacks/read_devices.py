# attack: opens the devices that give memory, disks, terminals and the kernel's log away
# expect: ok
# report: ['null', 'random', 'urandom', 'zero']
# expect-reduced: exit
import os

result = sorted(os.listdir("/dev"))
for name in ("mem", "kmem", "port", "kmsg", "kvm", "fuse", "tty", "console", "ptmx", "pts/0", "sda", "vda", "nvme0n1",
             "loop0", "net/tun", "cpu/0/msr", "hpet", "rtc", "fb0", "dri/card0", "snd/seq", "vsock", "vhost-net", "userfaultfd"):
    for mode in (os.O_RDONLY, os.O_WRONLY, os.O_PATH):
        try:
            os.open("/dev/" + name, mode)
            result.append(name)
        except OSError:
            pass
assert len(open("/dev/urandom", "rb", buffering=0).read(16)) == 16
