def longest_words(text):
    words = text.split() * 2
    size = max(map(len, words), default=0)
    return [word for word in words if len(word) == size]
