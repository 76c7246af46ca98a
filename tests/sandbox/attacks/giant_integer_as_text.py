# attack: an integer of millions of digits as text, with the guard off
# expect: cpu
import sys

sys.set_int_max_str_digits(0)
str(1 << 30000000)
