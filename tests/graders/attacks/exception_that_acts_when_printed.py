# attack: an exception whose every method that a printer may call writes a report and ends the process
# expect: error
import os
import struct

report = b'{"outputs": ["1\\n", "1\\n", "1\\n", "1\\n", "1\\n", "1\\n", "1\\n"], "error": "", "hint": "", "interference": true}'


def act(self, *anything):
    os.write(3, struct.pack("!I", len(report)) + report)
    os._exit(1)


class Fatal(Exception):
    __str__ = __repr__ = __format__ = __reduce__ = __reduce_ex__ = act
    __cause__ = property(act)
    __context__ = property(act)
    __notes__ = property(act)
    args = property(act)


raise Fatal("read me")
