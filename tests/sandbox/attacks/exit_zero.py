# attack: claims success by its exit status
# expect: exit
import os

os._exit(0)
