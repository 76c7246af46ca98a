def encode(text, shift):
    def turn(letter):
        if letter.isascii() and letter.isalpha():
            base = ord("A") if letter.isupper() else ord("a")
            return chr((ord(letter) - base + shift) % 26 + base)
        return letter

    return "".join(map(turn, text))
