# attack: turns itself into a resident child that will be given the next learners' texts and comparisons
# expect: error interference incorrect
import sys

child = sys.modules["sandbox.child"]
run = sys.modules["harness.run"]
child.residence.resident = True
child.residence.served = 1


def compare(request):
    return b'{"results": [{"same": true, "message": "", "trace": ""}]}'


run.compare = run.prepare = compare
child._reside(run.compare, b"{}")
