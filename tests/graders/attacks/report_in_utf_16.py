# attack: a report in another encoding, which a lenient reader would guess
# expect: interference
import struct
import os

report = '{"outputs": ["1", "1", "1", "1", "1", "1", "1"], "error": "", "hint": "", "interference": false}'.encode("utf-16")
os.write(3, struct.pack("!I", len(report)) + report)
os._exit(0)
