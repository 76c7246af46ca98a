# attack: parentheses nested deeper than the parser can stand
# expect: exit signal
for text in ("(" * 100000 + ")" * 100000, "[" * 190 + "]" * 190, "-" * 1000000 + "1", "a." * 100000 + "a"):
    try:
        compile(text, "x", "eval")
    except (SyntaxError, MemoryError):
        continue
raise SystemExit(3)
