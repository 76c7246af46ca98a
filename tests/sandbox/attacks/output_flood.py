# attack: endless output
# expect: output
while True:
    print("x" * 4096)
