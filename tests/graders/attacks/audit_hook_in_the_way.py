# attack: an audit hook, which nobody can remove, raises at whatever the harness does from now on
# expect: error incorrect interference
import sys


def hook(event, arguments):
    if armed:
        raise SystemExit(0)


armed = False
sys.addaudithook(hook)


def code(n):
    global armed
    armed = True
    return 1


share = code
