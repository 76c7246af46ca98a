# attack: so many names and blocks that the compiler's tables grow quadratic
# expect: cpu memory exit ok
compile("\n".join("def f%d(a%d):\n    global g%d\n    g%d = a%d" % ((n,) * 5) for n in range(60000)), "x", "exec")
