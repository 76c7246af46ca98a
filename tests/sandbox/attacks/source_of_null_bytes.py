# attack: a source with null bytes, form feeds and an encoding that it does not have
# expect: exit
import sys

for text in (b"x = 1\0", b"# coding: utf-16\nx", b"\x0c\x0c\xef\xbb\xbfx", b"# coding: idna\n" + b"x" * 10000):
    try:
        compile(text, "x", "exec")
    except (SyntaxError, ValueError, UnicodeError):
        continue
raise SystemExit(4)
