#!/usr/bin/env bash
# `make test-vm`: the sandbox under a Debian kernel with the unified cgroup hierarchy, in a virtual machine.
#
#   deploy/vm/test-vm.sh [part ...]       parts: see tests/vm/guest.py; all but the long ones by default
#
# COMMIT=name     test that commit instead of the files as they lie here
# ONLY=word,...   of each part, only the tests with one of these in their names
# RECORD=1        write the result into docs/test-vm.md
# DEADLINE_S=N    the machine is switched off after so long (default 10800: emulated, it is slow)
# ACCEL=kvm|tcg   how to run it; by default KVM where it works, else emulation
# PATIENCE=N      factor for the tests' limits of time where the processor is emulated (default 12)
# NO_APT=1        never call apt-get
source "$(dirname "$0")/common.sh"
deploy/vm/image.sh

deadline_s=${DEADLINE_S:-10800}
parts=$(IFS=,; echo "$*")
console=$CACHE/console.log
results=$CACHE/results.log
disk=$CACHE/checkout.ext4
mke2fs=$(command -v mke2fs || echo /sbin/mke2fs)

# -- the checkout, on a disk of its own ---------------------------------------------------------------------------
off() { kill "$qemu" 2>/dev/null || true; wait "$qemu" 2>/dev/null || true; qemu=; }
staged=$(mktemp -d "$CACHE/staged.XXXXXX")
qemu=
trap 'rm -rf "$staged"; [ -z "$qemu" ] || off' EXIT
if [ -n "${COMMIT:-}" ]; then
    git archive "$COMMIT" | tar -x -C "$staged"
    what=$(git rev-parse --short "$COMMIT")
elif git rev-parse --git-dir >/dev/null 2>&1; then
    git ls-files -z -co --exclude-standard | tar -c --null --ignore-failed-read -T - 2>/dev/null | tar -x -C "$staged"
    what=$(git describe --always --dirty)
else
    tar -c --exclude=./.[a-z]* --exclude=./var . | tar -x -C "$staged"
    what=unknown
fi
# Compiled beforehand: the guest may be an emulated one. It has the same Python as this Debian.
/usr/bin/python3 -m compileall -q -s "$staged" -p "$CHECKOUT" "$staged/"{supervisor,sandbox,graders,xqueue,compat} \
    >/dev/null || true
chown -R 0:0 "$staged"
chmod -R go+rX "$staged"
rm -f "$disk"
"$mke2fs" -q -t ext4 -O ^has_journal -d "$staged" "$disk" $(( $(du -sm "$staged" | cut -f1) * 2 + 32 ))M >/dev/null
rm -rf "$staged"

# -- the machine --------------------------------------------------------------------------------------------------
boot() {  # accelerator, processor
    local words="vm.what=$what vm.patience=$([ "$1" = kvm ] && echo 1 || echo "${PATIENCE:-12}") vm.parts=$parts vm.only=${ONLY:-}"
    : > "$console"; : > "$results"
    timeout --foreground --signal=KILL "$deadline_s" qemu-system-x86_64 -accel "$1" -cpu "$2" -m 3072 -smp 2 -nodefaults -no-reboot -display none -monitor none \
        -nic none -serial "file:$console" -serial "file:$results" \
        -kernel "$(echo "$ROOT"/boot/vmlinuz-*)" -initrd "$(echo "$ROOT"/boot/initrd.img-*)" \
        -append "root=/dev/vda rw console=ttyS0 panic=-1 systemd.unified_cgroup_hierarchy=1 systemd.show_status=0 $words" \
        -drive "file=$IMAGE,if=virtio,format=raw,snapshot=on" \
        -drive "file=$disk,if=virtio,format=raw,readonly=on" \
        </dev/null 2>"$CACHE/qemu.log" &
    qemu=$!
}

accel=${ACCEL:-}
if [ -z "$accel" ]; then
    accel=tcg
    if [ -w /dev/kvm ]; then
        # There are machines with a /dev/kvm that runs nothing: the kernel must have said something soon.
        boot kvm host
        for _ in $(seq 20); do
            sleep 1
            if [ -s "$console" ]; then accel=kvm; break; fi
            kill -0 "$qemu" 2>/dev/null || break
        done
        if [ $accel = tcg ]; then
            off
            say "KVM of this machine does not run the guest; it is emulated, which is slow"
        fi
    fi
fi
if [ -z "$qemu" ]; then
    if [ "$accel" = kvm ]; then boot kvm host; else boot tcg "${CPU:-max}"; fi
fi
say "the guest runs ($accel), its output is in $results"

tail -n +1 -f --pid="$qemu" "$results" 2>/dev/null | sed -un 's/\r$//; /^== /p' >&2 &
status=0
wait "$qemu" || status=$?
qemu=
wait

# -- the result ---------------------------------------------------------------------------------------------------
tr -d '\r' < "$results" > "$results.txt"
mv "$results.txt" "$results"
[ $status = 0 ] || say "the machine ended with status $status (137: switched off after $deadline_s s); its console: $(tail -2 "$console" | tr -d '\r')"
sed -n 's/^-- //p' "$results"
[ -z "${RECORD:-}" ] || /usr/bin/python3 -m tests.vm.record "$results" docs/test-vm.md "$accel"
grep -q '^-- verdict: passed$' "$results" || die "failed; see $results and $console"
