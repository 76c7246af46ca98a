from string import ascii_lowercase, ascii_uppercase


def encode(text, shift):
    shift %= 26
    result = ""
    for letter in text:
        for alphabet in (ascii_lowercase, ascii_uppercase):
            if letter in alphabet:
                letter = (alphabet + alphabet)[alphabet.index(letter) + shift]
                break
        result += letter
    return result
