# attack: imports every module there is, with whatever they do
# expect: ok cpu memory processes wall exit signal disk
import sys

for name in sorted(sys.stdlib_module_names):
    try:
        __import__(name)
    except BaseException:
        pass
result = True
