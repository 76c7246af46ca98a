def longest_words(text):
    words = set(text.split())
    size = max(len(word) for word in words)
    return {word for word in words if len(word) == size}
