# attack: catastrophic backtracking
# expect: cpu
import re

re.match(r"(a+)+$", "a" * 64 + "b")
