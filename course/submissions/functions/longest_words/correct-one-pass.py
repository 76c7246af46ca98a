def longest_words(text):
    best = []
    for word in text.split():
        if not best or len(word) > len(best[0]):
            best = [word]
        elif len(word) == len(best[0]) and word not in best:
            best.append(word)
    return best
