# attack: a library of its own, for itself and for every program started after it
# expect: ok
# report: ['no map', 'no start']
# report-reduced: ['no start']
import ctypes, os, shutil, subprocess

result = []
for top in ("/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib64", "/lib64"):
    if os.path.exists(top + "/libm.so.6"):
        shutil.copyfile(top + "/libm.so.6", "evil.so")
        break
os.environ["LD_PRELOAD"] = os.path.abspath("evil.so")
try:
    ctypes.CDLL(os.path.abspath("evil.so"))
except OSError as error:
    result.append("no map" if "map" in str(error) else str(error))
try:
    subprocess.run(["/bin/true"])
except OSError:
    result.append("no start")
