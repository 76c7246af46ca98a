# attack: a watchdog of the interpreter writes tracebacks into the report and ends the process
# expect: error
import faulthandler
import time

faulthandler.dump_traceback_later(0.02, repeat=True, file=3, exit=True)
faulthandler.enable(file=3, all_threads=True)
time.sleep(1)
