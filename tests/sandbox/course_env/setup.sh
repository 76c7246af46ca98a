#!/bin/sh
# Make .venv-course at the repository's root: what a course on data has installed, for test_course_*.py and bench.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
exec sh "$here/../../../deploy/virtualenv.sh" .venv-course "$here/requirements.txt"
