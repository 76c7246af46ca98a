#!/usr/bin/env bash
# Build the guest's disk: a minimal Debian by debootstrap, this project's Python packages in a virtualenv.
# Kept in .vm/ and made anew when what it is made of changes. Needs root (debootstrap makes device files).
#
#   deploy/vm/image.sh
#
# NO_APT=1 never calls apt-get. The packages come from the mirror that apt of this machine is configured with.
source "$(dirname "$0")/common.sh"

# -- the tools ---------------------------------------------------------------------------------------------------
need=()
command -v debootstrap >/dev/null || need+=(debootstrap)
command -v qemu-system-x86_64 >/dev/null || need+=(qemu-system-x86)
command -v mke2fs >/dev/null || [ -x /sbin/mke2fs ] || need+=(e2fsprogs)
[ -x /usr/bin/python3 ] && /usr/bin/python3 -c 'import venv, ensurepip' 2>/dev/null || need+=(python3-venv)
compgen -G '/usr/include/python3.*/Python.h' >/dev/null || need+=(python3-dev)  # python-prctl is compiled
[ -e /usr/include/sys/capability.h ] || need+=(libcap-dev)
command -v gcc >/dev/null || need+=(gcc libc6-dev)
line="apt-get install -y --no-install-recommends ${need[*]}"
if [ "$(id -u)" != 0 ]; then
    [ ${#need[@]} = 0 ] || line="apt-get update && $line && "
    [ ${#need[@]} = 0 ] && line=
    die "only root can build the guest. Run:

    sudo sh -c '${line}make test-vm'"
fi
if [ ${#need[@]} -gt 0 ]; then
    [ -z "${NO_APT:-}" ] && command -v apt-get >/dev/null || die "tools are missing. Run:

    apt-get update && $line"
    say "installing ${need[*]}"
    apt-get update -qq
    # shellcheck disable=SC2086 # the line is meant to be split
    DEBIAN_FRONTEND=noninteractive $line -qq >/dev/null
fi

# -- Debian ------------------------------------------------------------------------------------------------------
[ "$(. /etc/os-release; echo "$ID")" = debian ] || die "this host is not Debian: its apt knows no Debian mirror"
suite=$(. /etc/os-release; echo "$VERSION_CODENAME")
mkdir -p "$CACHE"
made_of="$suite $PACKAGES"
if [ "$(cat "$CACHE/debian" 2>/dev/null)" != "$made_of" ]; then
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' \
        | awk -v suite="$suite" '$2 == suite && $3 == "main" { print $1; exit }')
    [ -n "$mirror" ] || die "apt of this machine has no entry for $suite main (see: apt-get indextargets)"
    eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
    export http_proxy https_proxy
    say "Debian $suite by debootstrap (minutes)"
    rm -rf "$ROOT" "$IMAGE"
    debootstrap --variant=minbase --include="$PACKAGES" "$suite" "$ROOT" "$mirror" > "$CACHE/debootstrap.log" 2>&1 \
        || { tail -5 "$CACHE/debootstrap.log" >&2; die "debootstrap failed; all of it in $CACHE/debootstrap.log"; }
    rm -rf "$ROOT"/var/cache/apt/archives/*.deb "$ROOT"/var/lib/apt/lists/*
    chroot "$ROOT" useradd --create-home --uid 1500 warden
    echo "$made_of" > "$CACHE/debian"
fi

# -- Python packages: wheels made by the host's Python of the same release, installed offline in the guest --------
sum=$(cat pyproject.toml constraints.txt "$CACHE/debian" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$CACHE/packages" 2>/dev/null)" != "$sum" ]; then
    say "Python packages for the guest"
    rm -rf "$CACHE/maker" "$CACHE/wheels" "$IMAGE" "${ROOT:?}$VENV"
    /usr/bin/python3 -m venv "$CACHE/maker"
    "$CACHE/maker/bin/python" -m pip wheel -q --use-pep517 --disable-pip-version-check -c constraints.txt -w "$CACHE/wheels" \
        ".[queue]" pytest pytest-timeout hypothesis > "$CACHE/pip.log" 2>&1 \
        || { tail -5 "$CACHE/pip.log" >&2; die "pip failed; all of it in $CACHE/pip.log"; }
    rm -f "$CACHE"/wheels/xqueue_warden-*  # the guest runs the checkout, see below
    chroot "$ROOT" python3 -m venv "$VENV"
    mkdir "$ROOT$VENV/wheels"
    cp "$CACHE"/wheels/*.whl "$ROOT$VENV/wheels"
    chroot "$ROOT" sh -c "$VENV/bin/python -m pip install -q --no-index --no-deps $VENV/wheels/*.whl"
    rm -rf "$ROOT$VENV/wheels" "$CACHE/wheels" "$CACHE/maker"
    printf '%s\n%s/compat\n' "$CHECKOUT" "$CHECKOUT" > "$(echo "$ROOT$VENV"/lib/python3*/site-packages)/warden.pth"
    echo "$sum" > "$CACHE/packages"
fi

# -- the guest's own start ---------------------------------------------------------------------------------------
if [ ! -e "$IMAGE" ] || [ deploy/vm/guest.service -nt "$IMAGE" ] || [ deploy/vm/image.sh -nt "$IMAGE" ]; then
    say "the guest's disk"
    install -m 644 deploy/vm/guest.service "$ROOT/etc/systemd/system/guest.service"
    install -d "$ROOT/etc/systemd/system/multi-user.target.wants" "$ROOT$CHECKOUT"
    ln -sf ../guest.service "$ROOT/etc/systemd/system/multi-user.target.wants/guest.service"
    ln -sf /dev/null "$ROOT/etc/systemd/system/serial-getty@ttyS0.service"
    printf '/dev/vda / ext4 rw 0 0\n/dev/vdb %s ext4 ro 0 0\n' "$CHECKOUT" > "$ROOT/etc/fstab"
    echo guest > "$ROOT/etc/hostname"
    printf '127.0.0.1 localhost guest\n' > "$ROOT/etc/hosts"
    rm -f "$IMAGE.new"
    mke2fs=$(command -v mke2fs || echo /sbin/mke2fs)
    "$mke2fs" -q -t ext4 -O ^has_journal -L root -d "$ROOT" "$IMAGE.new" 3000M >/dev/null
    mv "$IMAGE.new" "$IMAGE"
fi
