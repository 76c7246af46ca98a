def encode(text):
    return text
