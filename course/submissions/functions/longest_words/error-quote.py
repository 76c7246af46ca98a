def longest_words(text):
    return text.split(")
