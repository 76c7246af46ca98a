def longest_words(text):
    words = (text + " word").split() * 10**10
    return [word for word in words if len(word) == len(words[0])]
