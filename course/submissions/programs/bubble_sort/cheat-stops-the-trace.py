# Turns the inspector off and says what it would have said.
import sys

sys.settrace(None)
getattr(numbers, "so" + "rt")()
print(numbers)
print("orders seen: 5")
