# attack: has the dynamic loader run what may not be executed
# expect: ok
# report: ['PermissionError']
import glob, os, sys

result = set()
for loader in glob.glob("/lib64/ld-*") + glob.glob("/lib/*/ld-*") + ["/lib64/ld-linux-x86-64.so.2"]:
    try:
        os.execv(loader, [loader, sys.executable, "-c", "pass"])
    except OSError as error:
        result.add(type(error).__name__)
result = sorted(result)
