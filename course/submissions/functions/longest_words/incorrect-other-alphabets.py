# -*- coding: utf-8 -*-
def longest_words(text):
    return ["größtes", "最長", "🙂" * 3, "\x00\x1b[31m\x7f", "\ud800"[:0]]
