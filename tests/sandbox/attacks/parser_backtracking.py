# attack: text that makes the parser try everything twice at each level
# expect: cpu exit
try:
    compile("{" * 100 + "1:" * 100, "x", "eval")
except (SyntaxError, MemoryError):
    pass
compile("(" * 150 + "a for" * 150 + ")" * 150, "x", "eval")
