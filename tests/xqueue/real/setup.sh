#!/bin/sh
# Make .venv-xqueue at the repository's root: the LMS's own queue server (lab.py), for the tests.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
exec sh "$here/../../../deploy/virtualenv.sh" .venv-xqueue "$here/requirements.txt"
