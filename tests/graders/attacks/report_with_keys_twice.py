# attack: a report that says everything twice, the better version last, and a verdict besides
# expect: interference incorrect
import os
import struct

report = (
    b'{"outputs": [], "outputs": ["1\\n", "1\\n", "1\\n", "1", "1"], "error": "x", "error": "", "hint": "",'
    b' "interference": true, "interference": false, "correct": true, "score": 1, "verdict": "correct"}'
)
os.write(3, struct.pack("!I", len(report)) + report)
os._exit(0)
