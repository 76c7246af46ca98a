def longest_words(text):
    return [len(word) for word in text.split()]
