# attack: a text that doubles
# expect: memory
# reveals: MemoryError
text = "x"
while True:
    text += text
