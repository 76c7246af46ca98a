class longest_words:
    pass
