# attack: a constant that the compiler would fold for hours
# expect: cpu memory ok exit
compile("x = " + "(" * 50 + "2" + "**64)" * 50, "x", "exec")
compile("x = '" + "y" * 4000 + "' * 4096 * 4096 * 4096", "x", "exec")
compile("x = ((1,) * 255,) * 255 * 255 * 255", "x", "exec")
result = True
