def encode(text, shift):
    return [c for c in text]
