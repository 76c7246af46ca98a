# attack: sends half a report, in the hope that the other half is taken for granted
# expect: error
import json
import os
import struct

report = json.dumps({"outputs": ["1\n"] * 7, "error": "", "hint": "", "interference": False}).encode()
os.write(3, struct.pack("!I", len(report)) + report[: len(report) // 2])
os._exit(0)
