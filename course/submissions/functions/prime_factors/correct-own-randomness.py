# Uses the random module itself: the tests' numbers were drawn before, and stay what they are.
import random

random.seed(0)


def factors(number):
    result = []
    candidates = list(range(2, 200))
    random.shuffle(candidates)
    for d in candidates:
        if all(d % e for e in range(2, d)):
            while number % d == 0:
                result.append(d)
                number //= d
    return sorted(result)
