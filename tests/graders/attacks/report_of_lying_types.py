# attack: a report whose values are almost of the right type: 0 for false, null for text, true for an output
# expect: interference
import os
import struct

report = b'{"outputs": [true, true, true, true, true, true, true], "error": null, "hint": "correct", "interference": 0}'
os.write(3, struct.pack("!I", len(report)) + report)
os._exit(0)
