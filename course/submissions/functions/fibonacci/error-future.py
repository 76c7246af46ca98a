from __future__ import braces


def fibonacci(n):
    return n
