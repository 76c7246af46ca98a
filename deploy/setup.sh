#!/usr/bin/env bash
# Set up what `make demo`, `make test` and `make bench` need: system packages (through apt-get when it may, else
# the exact line to run), a virtualenv, the pinned Python packages. Idempotent; quick when nothing is missing.
#
#   deploy/setup.sh demo|test|bench
#
# PYTHON=/path/to/python chooses the interpreter (3.11 or newer). NO_APT=1 never calls apt-get.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:?demo, test or bench}

say() { printf '== %s\n' "$*" >&2; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# -- which Python ----------------------------------------------------------------------------------------------
good() { [ -x "$(command -v "$1" 2>/dev/null)" ] && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
if [ -z "${PYTHON:-}" ]; then
    # The system's own first: learner code runs under it, and every user of this machine can execute it.
    for candidate in /usr/bin/python3 /usr/bin/python3.1{1,2,3,4} python3; do
        if good "$candidate"; then PYTHON=$candidate; break; fi
    done
fi
[ -n "${PYTHON:-}" ] || die "no Python 3.11 or newer found; install one or say PYTHON=/path/to/python"
good "$PYTHON" || die "$PYTHON is not Python 3.11 or newer"

# -- system packages -------------------------------------------------------------------------------------------
version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
include=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
need=()
"$PYTHON" -c 'import venv, ensurepip' 2>/dev/null || need+=("python$version-venv")
[ -e "$include/Python.h" ] || need+=("python$version-dev")
command -v gcc >/dev/null || need+=(gcc libc6-dev)
[ -e /usr/include/sys/capability.h ] || need+=(libcap-dev)
ldconfig -p 2>/dev/null | grep -q libseccomp.so.2 || /sbin/ldconfig -p | grep -q libseccomp.so.2 || need+=(libseccomp2)
if [ "$what" = test ]; then
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || need+=(postgresql)
    command -v setpriv >/dev/null || need+=(util-linux)
    command -v systemd-analyze >/dev/null || need+=(systemd)
    command -v strace >/dev/null || need+=(strace)
    [ -x /usr/sbin/logrotate ] || need+=(logrotate)
    # The languages that the tests compile and run. (A rustc in somebody's home folder is not everybody's.)
    [ -x /usr/bin/g++ ] || need+=(g++)
    [ -x /usr/bin/javac ] || need+=(default-jdk-headless)
    [ -x /usr/bin/node ] || need+=(nodejs)
    [ -x /usr/bin/rustc ] || need+=(rustc)
fi
[ "$what" != bench ] || command -v bwrap >/dev/null || need+=(bubblewrap)
if [ ${#need[@]} -gt 0 ]; then
    line="apt-get install -y --no-install-recommends ${need[*]}"
    as_root=()
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null && as_root=(sudo -n)
    fi
    if [ -n "${NO_APT:-}" ] || ! command -v apt-get >/dev/null || { [ "$(id -u)" != 0 ] && [ ${#as_root[@]} = 0 ]; }; then
        die "system packages are missing. As root, run:

    apt-get update && $line

then the same command again."
    fi
    say "installing system packages: ${need[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -qq
    # shellcheck disable=SC2086 # the line is meant to be split
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive $line -qq >/dev/null
fi

# -- Python packages -------------------------------------------------------------------------------------------
extra=queue
[ "$what" = demo ] || extra=dev
stamp=.venv/.installed-$extra
sum=$(cat pyproject.toml constraints.txt | sha256sum | cut -d' ' -f1)-$version
if [ "$(cat "$stamp" 2>/dev/null)" != "$sum" ]; then
    say "Python packages into .venv (Python $version)"
    [ -x .venv/bin/python ] && good .venv/bin/python || "$PYTHON" -m venv --clear .venv
    .venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[$extra]" 2> .venv/pip.log \
        || { cat .venv/pip.log >&2; die "pip failed (see above)"; }
    echo "$sum" > "$stamp"
fi
export PYTHON
if [ "$what" = test ]; then
    for script in tests/xqueue/real/setup.sh tests/lms/setup.sh tests/supervisor/promtool.sh; do sh "$script"; done
fi
[ "$what" = demo ] || sh tests/sandbox/course_env/setup.sh
