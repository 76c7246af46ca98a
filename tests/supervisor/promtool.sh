#!/bin/sh
# Put promtool, which reads our alerting rules and metrics, into .promtool at the repository's root. Debian's
# package of it would also start a server, so it is only unpacked. Without apt the tests that need it are skipped.
set -eu
cd "$(dirname -- "$0")/../.."
[ ! -x .promtool/promtool ] && ! command -v promtool >/dev/null && command -v apt-get >/dev/null || exit 0
echo '== promtool into .promtool' >&2
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
fetch() { (cd "$folder" && apt-get download -qq prometheus >/dev/null 2>apt.log); }
fetch || { [ "$(id -u)" = 0 ] && apt-get update -qq >/dev/null 2>&1 && fetch; } || {
    echo "setup: no promtool: $(tail -n 1 "$folder/apt.log")" >&2
    exit 0
}
dpkg-deb -x "$folder"/prometheus_*.deb "$folder/unpacked"
mkdir -p .promtool
mv "$folder/unpacked/usr/bin/promtool" .promtool/promtool
