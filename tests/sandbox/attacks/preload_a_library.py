# attack: a library of its own, for itself and for every program started after it
# expect: ok
# report: ['no map', 'no start']
import ctypes, glob, os, shutil, subprocess

result = []
library = (glob.glob("/usr/lib/*/libm.so.6") + glob.glob("/lib/*/libm.so.6"))[0]
shutil.copyfile(library, "evil.so")
os.environ["LD_PRELOAD"] = os.path.abspath("evil.so")
try:
    ctypes.CDLL(os.path.abspath("evil.so"))
except OSError as error:
    result.append("no map" if "map" in str(error) else str(error))
try:
    subprocess.run(["/bin/true"])
except OSError:
    result.append("no start")
