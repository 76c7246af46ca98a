# attack: fills the scratch with one file
# expect: disk
with open("big", "wb") as file:
    while True:
        file.write(b"x" * 65536)
        file.flush()
