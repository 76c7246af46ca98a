# attack: outputs that no encoder can write, to make the worker stumble over them later
# expect: interference
import os
import struct

report = b'{"outputs": ["\\ud800", "\\udfff", "1", "1", "1", "1", "1"], "error": "", "hint": "", "interference": false}'
os.write(3, struct.pack("!I", len(report)) + report)
os._exit(0)
