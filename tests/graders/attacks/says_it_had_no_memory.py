# attack: claims by its exit status that there was no memory, so that it might be tried again
# expect: memory
import os

os._exit(71)
