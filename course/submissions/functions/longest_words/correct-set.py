def longest_words(text):
    words = set(text.split())
    if not words:
        return []
    size = max(len(word) for word in words)
    return {word for word in words if len(word) == size}
