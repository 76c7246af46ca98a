#!/bin/sh
# Make .venv-xqueue at the repository's root: the LMS's own queue server (lab.py), for the tests.
# Idempotent: does nothing when the virtualenv is there and made from these requirements.
#   PYTHON   the interpreter to make it from (default /usr/bin/python3; any CPython >= 3.11 with venv)
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
venv=$(CDPATH='' cd -- "$here/../../.." && pwd)/.venv-xqueue
python=${PYTHON:-/usr/bin/python3}
stamp=$(cat "$here/requirements.txt" "$here/setup.sh" | sha256sum | cut -d' ' -f1)-$("$python" -c \
  'import sys; print("%d.%d" % sys.version_info[:2])')

if [ "$(cat "$venv/.made-from" 2>/dev/null)" = "$stamp" ] && [ -x "$venv/bin/python" ]; then
  exit 0
fi
umask 022 # tests may run as another user than the one who set this up
rm -rf -- "$venv"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --no-deps \
  --requirement "$here/requirements.txt"
"$venv/bin/python" -m compileall -q "$venv/lib" >/dev/null 2>&1 || true # tests may not be allowed to write there
printf '%s\n' "$stamp" > "$venv/.made-from"
