# attack: speaks the words of a resident: retires, and reports in the resident's form
# expect: error
import os
import struct

report = b'{"outputs": ["1\\n", "1\\n", "1\\n", "1\\n", "1\\n", "1\\n", "1\\n"], "error": "", "hint": "", "interference": false}'
os.write(3, b"-+" + struct.pack("!III", len(report), 0, 0) + report)
os._exit(0)
