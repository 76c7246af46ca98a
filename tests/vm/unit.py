"""As systemd starts a service: what is started before it, and it again after it died, find their place."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SERVE = "from sandbox import cgroup; cgroup.delegate(); print(open('/proc/self/cgroup').read())"
CHECK = "from sandbox import cgroup\\nwith cgroup.delegated(): print(open('/proc/self/cgroup').read())"


def service(*properties: str, user: str = "warden") -> subprocess.CompletedProcess[str]:
    """A delegated service that moves to its leaf and says where it is."""
    return subprocess.run(
        [
            *("systemd-run", "--quiet", "--wait", "--collect", "--pipe", "--service-type=exec"),
            *(f"--uid={user}", "--property=Delegate=yes", f"--working-directory={os.getcwd()}"),
            *(f"--property={one}" for one in properties),
            *(sys.executable, "-c", SERVE),
        ],
        capture_output=True,
        text=True,
        timeout=250,
    )


@pytest.mark.parametrize("user", ["warden", "root"])
def test_service_is_in_its_leaf(user: str) -> None:
    done = service(user=user)
    assert done.returncode == 0, done
    assert done.stdout.strip().endswith("/main"), done


@pytest.mark.parametrize("user", ["warden", "root"])
def test_command_before_the_start_that_delegates_does_not_lock_the_service_out(user: str) -> None:
    """ExecStartPre=warden check, which opens jails, too."""
    done = service(f'ExecStartPre={sys.executable} -c "{CHECK}"', user=user)
    assert done.returncode == 0, done
    assert done.stdout.count("/main\n") == 2, done


def test_root_in_a_service_that_was_not_delegated_leaves_its_group_alone() -> None:
    """Its jails go beside it, into the slice."""
    code = (
        "from sandbox import cgroup; cgroup.delegate(); print(open('/proc/self/cgroup').read());"
        "group = cgroup.make(1); print(*group.layers, group.memory.parent); group.remove()"
    )
    done = subprocess.run(
        [
            *("systemd-run", "--quiet", "--wait", "--collect", "--pipe", "--service-type=exec"),
            *(f"--working-directory={os.getcwd()}", "--unit=lonely", sys.executable, "-c", code),
        ],
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done
    where, layers = done.stdout.split("\n\n")
    assert where == "0::/system.slice/lonely.service"
    assert layers.split() == ["cgroup2-memory", "cgroup2-pids", "/sys/fs/cgroup/system.slice"]
