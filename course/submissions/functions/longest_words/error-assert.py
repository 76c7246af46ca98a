def longest_words(text):
    return []


assert longest_words("a bb") == ["bb"], "it does not work yet"
