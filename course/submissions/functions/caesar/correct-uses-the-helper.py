# The helper modules of the grader can be imported; there is no answer in them.
from alphabets.latin import SIZE


def encode(text, shift):
    out = []
    for c in text:
        start = 97 if "a" <= c <= "z" else 65 if "A" <= c <= "Z" else None
        out.append(c if start is None else chr(start + (ord(c) - start + shift) % SIZE))
    return "".join(out)
