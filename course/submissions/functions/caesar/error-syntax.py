def encode(text, shift):
    return "".join(c for c in text
