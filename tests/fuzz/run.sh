#!/bin/sh
# The codec under atheris:  run.sh [SECONDS [--record]]   (600; --record writes the result into docs/reliability.md)
# The fuzzer has a virtualenv of its own; what it fuzzes is imported from here, its dependencies from .venv.
set -eu
cd "$(dirname -- "$0")/../.."
sh tests/fuzz/setup.sh
packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
binary=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["platlib"])')
mkdir -p var/fuzz
code=0
PYTHONPATH=$packages:$binary .venv-fuzz/bin/python tests/fuzz/atheris_codec.py "${1:-600}" >var/fuzz/log 2>&1 || code=$?
.venv/bin/python -m tests.fuzz.record var/fuzz/log "$code" ${2:+"$2"}
exit "$code"
