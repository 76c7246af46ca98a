"""The Latin alphabet, and shifts worth trying on it."""

SIZE = 26
SHIFTS = (0, 1, 13, -3, SIZE, 5 * SIZE + 7)
