# attack: a report nested so deep that the parser of the trusted side runs out of stack
# expect: interference
import os
import struct

report = b'{"outputs": ' + b"[" * 400000 + b"]" * 400000 + b', "error": "", "hint": "", "interference": false}'
data = struct.pack("!I", len(report)) + report
while data:
    data = data[os.write(3, data) :]
os._exit(0)
