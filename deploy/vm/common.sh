# Sourced by the scripts beside it: names, words, places. Nothing here acts.
# shellcheck shell=bash disable=SC2034 # used by those who source it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

say() { printf '== %s\n' "$*" >&2; }
die() { printf 'test-vm: %s\n' "$*" >&2; exit 1; }

CACHE=${VM_CACHE:-.vm}                # kept between runs; delete it to build anew
ROOT=$CACHE/root                      # the guest's files
IMAGE=$CACHE/root.ext4                # the same as a disk
CHECKOUT=/srv/checkout                # in the guest: this checkout, on a disk of its own
VENV=/opt/venv                        # in the guest
PACKAGES=systemd,systemd-sysv,dbus,udev,kmod,procps,util-linux,linux-image-amd64
PACKAGES+=,python3,python3-venv,libseccomp2,gcc,libc6-dev
