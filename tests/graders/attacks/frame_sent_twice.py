# attack: sends a whole report of its own and lets the harness send another behind it
# expect: error
import json
import os
import struct

report = json.dumps({"outputs": ["1\n"] * 7, "error": "", "hint": "", "interference": False}).encode()
os.write(3, struct.pack("!I", len(report)) + report)


def code(n):
    return 1


share = code
