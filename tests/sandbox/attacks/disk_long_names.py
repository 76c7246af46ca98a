# attack: names as long as they may be
# expect: disk
for number in range(100000):
    open("%d" % number + "n" * 249, "w").close()
