# attack: patterns that explode while they are compiled
# expect: cpu memory exit
import re

try:
    re.compile("(" * 5000 + "a" + ")" * 5000)
except (re.error, RecursionError, OverflowError):
    pass
re.compile("(?:" * 6 + "a{0,60000}" + "){0,60000}" * 6)
re.match("(?:" * 5 + "a?" + "){0,1000}" * 5 + "b", "a" * 1000)
re.match("(.*)*" * 10 + "x", "a" * 100)
