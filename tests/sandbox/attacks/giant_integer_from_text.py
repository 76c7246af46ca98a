# attack: a text of millions of digits as an integer
# expect: cpu
import sys

sys.set_int_max_str_digits(0)
int("9" * 10000000)
