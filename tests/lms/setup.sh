#!/bin/sh
# Make .venv-lms at the repository's root: the LMS's own judge of replies (judge.py), for the tests.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
exec sh "$here/../../deploy/virtualenv.sh" .venv-lms "$here/requirements.txt" --ignore-requires-python
