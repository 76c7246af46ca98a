"""What `warden install` puts on a machine: the texts of the files, and where they go. Pure.

Runs in: tools. The unit under deploy/systemd is `unit()` for the usual places (`python -m
supervisor.installation` prints it, and a test holds it to that). Why each option stands there or not:
decision 26.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

UNIT: Final = "xqueue-warden.service"
USER: Final = "warden"
ETC: Final = Path("/etc/warden")
MARK: Final = (
    "# Written by `warden install`, which replaces it; for changes use a drop-in (systemctl edit).\n"
)
NOTIFY_RELOAD: Final = 253
"""The first systemd that knows Type=notify-reload."""
GRACE_S: Final = 15.0
"""The unit's stop time is so much longer than the service's own."""


@dataclass(frozen=True, slots=True)
class Site:
    """What is particular to this machine.

    `credentials` maps names of systemd credentials to files; `systemd` is its version, 0 if there is none.
    """

    executable: Path = Path("/opt/warden/bin/warden")
    config: Path = ETC / "config.toml"
    credentials: tuple[tuple[str, Path], ...] = (("xqueue-password", ETC / "secrets/xqueue-password"),)
    drain_s: float = 30.0
    systemd: int = NOTIFY_RELOAD - 1
    writable: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class File:
    """A file to be written. `keep`: one that is there already stays as it is."""

    path: Path
    text: str
    mode: int = 0o644
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder to be made. `user`: it is the service's, else root's."""

    path: Path
    mode: int
    user: bool = False


FOLDERS: Final = (
    Folder(ETC, 0o755),
    Folder(ETC / "secrets", 0o700),
    Folder(Path("/var/lib/warden"), 0o700, user=True),
    Folder(Path("/var/log/warden"), 0o750, user=True),
)


def unit(site: Site) -> str:
    """The service."""
    newer = site.systemd >= NOTIFY_RELOAD
    loads = "".join(f"LoadCredential={name}:{_escaped(path)}\n" for name, path in site.credentials)
    writable = "".join(f"ReadWritePaths={_escaped(path, '-')}\n" for path in site.writable)
    reload = "" if newer else "ExecReload=/bin/kill -HUP $MAINPID\n"
    return f"""\
{MARK}[Unit]
Description=xqueue-warden, the external grader of Open edX
Documentation=man:systemd.service(5)
Wants=network-online.target
After=network-online.target time-sync.target
# However often it fails, it is started again; `warden health` and the alarms tell.
StartLimitIntervalSec=0

[Service]
Type={"notify-reload" if newer else "notify"}
NotifyAccess=main
ExecStart={_escaped(site.executable)} run --config {_escaped(site.config)}
{reload}User={USER}
Group={USER}
UMask=0077

# The loop tells systemd every half of this, and stops telling when it is stuck.
WatchdogSec=30
Restart=always
RestartSec=5
# 78: the configuration cannot be used. Starting again is of no use until somebody has corrected it.
RestartPreventExitStatus=78
TimeoutStartSec=120
# SIGTERM to the supervisor alone, which drains for {site.drain_s:g} s; then SIGKILL to all that is left.
KillMode=mixed
TimeoutStopSec={site.drain_s + GRACE_S:g}
# One submission that eats the memory is killed, the service goes on.
OOMPolicy=continue
# Each slot has a control group of its own below the service's.
Delegate=yes
TasksMax=8192
LimitNOFILE=65536

StateDirectory=warden
StateDirectoryMode=0700
# The status file and the metrics, for others to read, also while the service is down.
RuntimeDirectory=warden
RuntimeDirectoryMode=0755
RuntimeDirectoryPreserve=yes
LogsDirectory=warden
LogsDirectoryMode=0750
{loads}{writable}
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=~@clock @cpu-emulation @module @obsolete @raw-io @reboot @swap
SystemCallErrorNumber=EPERM
# Not here, as the sandbox needs what they take away: RestrictNamespaces, ProtectHostname,
# ProtectControlGroups, PrivateUsers, PrivateDevices, ProtectProc; and MemoryDenyWriteExecute, for languages
# that compile as they run.

[Install]
WantedBy=multi-user.target
"""


def files(site: Site) -> tuple[File, ...]:
    """All that is written, in order."""
    systemd = Path("/etc/systemd/system")
    health = f"{_escaped(site.executable)} health --config {_escaped(site.config)}"
    return (
        File(
            Path("/etc/sysusers.d/xqueue-warden.conf"), MARK + f'u {USER} - "xqueue-warden" /var/lib/warden\n'
        ),
        File(
            Path("/etc/tmpfiles.d/xqueue-warden.conf"),
            MARK + f"d /run/warden 0755 {USER} {USER} -\nd /var/lib/warden 0700 {USER} {USER} -\n",
        ),
        File(site.config, SAMPLE, 0o644, keep=True),
        File(systemd / UNIT, unit(site)),
        File(
            systemd / "xqueue-warden-health.service",
            f"{MARK}[Unit]\nDescription=is xqueue-warden well\n\n"
            f"[Service]\nType=oneshot\nUser={USER}\nExecStart={health}\n"
            "# A warning is not a failure of this unit; 2 (critical) and 3 (unknown) are.\n"
            "SuccessExitStatus=1\nNoNewPrivileges=yes\nProtectSystem=strict\nPrivateTmp=yes\n",
        ),
        File(
            systemd / "xqueue-warden-health.timer",
            f"{MARK}[Unit]\nDescription=is xqueue-warden well, every minute\n\n"
            "[Timer]\nOnCalendar=*-*-* *:*:00\nAccuracySec=5\n\n[Install]\nWantedBy=timers.target\n",
        ),
        File(
            Path("/etc/logrotate.d/xqueue-warden"),
            f"{MARK}/var/log/warden/*.log {{\n    weekly\n    rotate 8\n    compress\n    delaycompress\n"
            f"    missingok\n    notifempty\n    su {USER} {USER}\n    sharedscripts\n    postrotate\n"
            f"        systemctl kill --kill-who=main --signal=USR1 {UNIT} 2>/dev/null || true\n"
            "    endscript\n}\n",
        ),
        File(
            Path("/etc/cron.d/xqueue-warden"),
            f"{MARK}# Instead of the timer, if you like: without the #, cron mails what is not well.\n"
            f'#* * * * * {USER} said=$({health}) || echo "$said"\n',
        ),
    )


def _escaped(path: Path, before: str = "") -> str:
    """For a line of a unit: % is a specifier, white space ends a word. `before` is as in =-/some/path."""
    text = f"{before}{path}".replace("\\", "\\\\").replace("%", "%%")
    return f'"{text}"' if " " in text else text


SAMPLE: Final = """\
# xqueue-warden. Every setting is in docs/configuration.md; `warden check` tells what is wrong with this file.

[warden]
state_dir = "/var/lib/warden"
status_file = "/run/warden/status.json"
metrics_file = "/run/warden/metrics.prom"

[servers.main]
url = "https://xqueue.example.org"              # <- yours
username = "warden"                             # <- yours
password_file = "secrets/xqueue-password"       # systemd hands it over (LoadCredential=)

[sandboxes.python]
interpreter = "auto"

[queues.my-queue]                               # <- the queue's name on the server
server = "main"
workers = 2

[[queues.my-queue.handlers]]
kind = "gradelib"
grader_root = "/srv/course"                     # <- the folder with your graders
sandbox = "python"
"""


if __name__ == "__main__":
    sys.stdout.write(unit(Site()))
