# attack: swaps to a file of its own
# expect: forbidden
import ctypes

ctypes.CDLL(None).swapon(b"/home/learner/swap", 0)
