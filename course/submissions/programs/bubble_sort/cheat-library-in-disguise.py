# Sorts by library call without saying so, and prints the right list; the inspector sees no steps.
getattr(numbers, "so" + "rt")()
print(numbers)
