def longest_words(text):
    return [max(text.split(), key=len)] if text else []
