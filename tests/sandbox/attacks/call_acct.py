# attack: has the kernel write accounts into its file
# expect: forbidden
import ctypes

ctypes.CDLL(None).acct(b"/home/learner/acct")
