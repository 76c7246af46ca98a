# attack: looks for other processes by every number there is: neighbours, the zygote, the worker
# expect: ok
# report: []
import os

result = []
for pid in [*range(1, 32769), HOST["worker"], HOST["zygote"]]:
    try:
        os.kill(pid, 0)
        if pid != os.getpid():
            result.append(pid)
    except OSError:
        pass
