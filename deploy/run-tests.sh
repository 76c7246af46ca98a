#!/usr/bin/env bash
# All tests, as whoever calls; and when that is root, all of them again as an unprivileged user.
set -euo pipefail
cd "$(dirname "$0")/.."

printf '== tests as %s\n' "$(id -un)" >&2
.venv/bin/python -m pytest "$@"
if [ "$(id -u)" != 0 ]; then
    printf '== not run here: the tests as root (this is %s)\n' "$(id -un)" >&2
    exit 0
fi

user=65534
as_user=(setpriv --reuid=$user --regid=$user --clear-groups --no-new-privs)
home=$(mktemp -d); chmod 700 "$home"; chown $user:$user "$home"
trap 'rm -rf "$home"' EXIT
tree=$PWD
if ! "${as_user[@]}" test -r "$tree/pyproject.toml" -a -x "$tree/.venv/bin/python" \
    || ! "${as_user[@]}" "$tree/.venv/bin/python" -c pass 2>/dev/null; then
    # The checkout lies where that user cannot read: he gets a copy of it, beside the same data.
    tree=$home/tree/checkout
    mkdir -p "$tree"
    tar -c --exclude=.git --exclude=./var --exclude=./.vm . | tar -x -C "$tree"
    [ ! -d ../shared ] || cp -r ../shared "$home/tree/shared"
    # Scripts of a virtualenv and its link to this checkout name their place.
    { grep -rlIF "$PWD" "$tree"/.venv*/bin "$tree"/.venv*/lib/python*/site-packages/*.pth 2>/dev/null || true; } \
        | xargs -r sed -i "s#$PWD#$tree#g"
    chown -R $user:$user "$home/tree"
fi
printf '== tests as uid %s\n' $user >&2
cd "$tree"
"${as_user[@]}" env -i PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 HOME="$home" TMPDIR="$home" \
    PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$tree" HYPOTHESIS_STORAGE_DIRECTORY="$home/hypothesis" CI="${CI:-}" \
    .venv/bin/python -m pytest -p no:cacheprovider "$@"
