def encode(text, shift):
    return text.translate(str.maketrans("abc", "bcd"))
