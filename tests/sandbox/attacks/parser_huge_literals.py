# attack: a display of millions of literals
# expect: cpu memory
compile("[" + "1.5, " * 5000000 + "]", "x", "eval")
