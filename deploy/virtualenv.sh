#!/bin/sh
# A virtualenv at the repository's root, made from pinned requirements: each kind of foreign code that the tests
# need has its own. Idempotent: does nothing when it is there and was made from the same.
#
#   deploy/virtualenv.sh NAME REQUIREMENTS [option of pip install...]
#
# PYTHON=/path/to/python chooses the interpreter (default /usr/bin/python3; any CPython >= 3.11 with venv).
set -eu

venv=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)/$1
requirements=$2
shift 2
python=${PYTHON:-/usr/bin/python3}
stamp=$({ cat -- "$requirements" "$0"; printf '%s\n' "$@"; } | sha256sum | cut -d' ' -f1)-$("$python" -c \
  'import sys; print("%d.%d" % sys.version_info[:2])')

if [ "$(cat "$venv/.made-from" 2>/dev/null)" = "$stamp" ] && [ -x "$venv/bin/python" ]; then
  exit 0
fi
umask 022 # tests may run as another user than the one who set this up
rm -rf -- "$venv"
"$python" -m venv "$venv"
# Everything is pinned, and compiled now: tests may not be allowed to write there.
"$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --compile --no-deps "$@" \
  --requirement "$requirements"
printf '%s\n' "$stamp" > "$venv/.made-from"
