"""As systemd starts a service: what is started before it, and it again after it died, find their place."""

from __future__ import annotations

import os
import subprocess
import sys

SERVE = "from sandbox import cgroup; cgroup.delegate(); print(open('/proc/self/cgroup').read())"
CHECK = "from sandbox import cgroup\\nwith cgroup.delegated(): print(open('/proc/self/cgroup').read())"


def service(*properties: str) -> subprocess.CompletedProcess[str]:
    """A delegated service of an ordinary user that moves to its leaf and says where it is."""
    return subprocess.run(
        [
            *("systemd-run", "--quiet", "--wait", "--collect", "--pipe", "--service-type=exec"),
            *("--uid=warden", "--property=Delegate=yes", f"--working-directory={os.getcwd()}"),
            *(f"--property={one}" for one in properties),
            *(sys.executable, "-c", SERVE),
        ],
        capture_output=True,
        text=True,
        timeout=250,
    )


def test_service_is_in_its_leaf() -> None:
    done = service()
    assert done.returncode == 0, done
    assert done.stdout.strip().endswith("/main"), done


def test_command_before_the_start_that_delegates_does_not_lock_the_service_out() -> None:
    """ExecStartPre=warden check, which opens jails, too."""
    done = service(f'ExecStartPre={sys.executable} -c "{CHECK}"')
    assert done.returncode == 0, done
    assert done.stdout.count("/main\n") == 2, done
