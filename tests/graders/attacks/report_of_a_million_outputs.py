# attack: as many outputs as fit into a report, so that one of them might match
# expect: interference
import os
import struct

report = b'{"outputs": [' + b'"",' * 300000 + b'""], "error": "", "hint": "", "interference": false}'
data = struct.pack("!I", len(report)) + report
while data:
    data = data[os.write(3, data) :]
os._exit(0)
