def longest_words(text):
    words = set(text.split())
    longest = max(map(len, words), default=0)
    return [word for word in words if len(word) == longest]
