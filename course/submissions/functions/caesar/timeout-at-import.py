def encode(text, shift):
    return text


while True:
    pass
