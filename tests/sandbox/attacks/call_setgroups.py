# attack: joins other groups
# expect: forbidden
import os

os.setgroups([0, 4, 27])
