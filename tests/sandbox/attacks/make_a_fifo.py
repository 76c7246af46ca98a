# attack: a fifo where a file is expected
# expect: forbidden
import os

os.mkfifo("answer.txt")
