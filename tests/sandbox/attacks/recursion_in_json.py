# attack: JSON nested deeper than the stack, decoded in C
# expect: exit
# reveals: RecursionError
import json

json.loads("[" * 1000000)
