#!/bin/sh
# Make .venv-fuzz at the repository's root: atheris. What it fuzzes comes from .venv.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
exec sh "$here/../../deploy/virtualenv.sh" .venv-fuzz "$here/requirements.txt"
