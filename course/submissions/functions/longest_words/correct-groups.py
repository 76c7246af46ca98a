from collections import defaultdict


def longest_words(text):
    by_length = defaultdict(set)
    for word in text.split():
        by_length[len(word)].add(word)
    return by_length[max(by_length, default=0)]
