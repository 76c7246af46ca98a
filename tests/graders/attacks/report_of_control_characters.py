# attack: outputs full of what XML, HTML, terminals and templates take for instructions
# expect: incorrect
import json
import os
import struct

nasty = "".join(map(chr, range(32))) + "\x7f\x85\u2028\u202e\ufffe\uffff]]><script>alert(1)</script>&#0;{{ 7 * 7 }}$x$\x1b[2J"
report = {"outputs": [nasty, nasty * 400, "", "nan", "inf", "-0", nasty], "error": "", "hint": "", "interference": False}
text = json.dumps(report).encode()
os.write(3, struct.pack("!I", len(text)) + text)
os._exit(0)
