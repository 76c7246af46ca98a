"""Starts and stops the real thing: PostgreSQL in a scratch folder, edx-submissions under gunicorn before it.

PostgreSQL refuses to run as root; then it runs as `nobody`. Both listen on 127.0.0.1 only, on free ports, and
die with the test process (PDEATHSIG), however that ends.

Runs in: tools (tests).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import prctl
import psutil
import requests

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
VENV = ROOT / ".venv-xqueue"
INSTALL_VENV = "sh tests/xqueue/real/setup.sh"
INSTALL_POSTGRESQL = "apt-get install --no-install-recommends postgresql"
START_S = 60.0


class LabMissing(Exception):
    """A part is not installed; the text is the line that installs it."""


class LabBroken(Exception):
    """A part did not start; the text is the end of its log."""


class Lab:
    """Context manager around the running server. `url` is its address, `control` steers it."""

    def __enter__(self) -> Lab:
        self._binaries = _postgresql()
        if not (VENV / "bin" / "gunicorn").exists():
            raise LabMissing(f"{VENV} is missing; from the repository's root: {INSTALL_VENV}")
        self._processes: list[subprocess.Popen[bytes]] = []
        # Short and world-readable: a socket's path has 107 bytes, and the server runs as somebody else.
        self.folder = Path(tempfile.mkdtemp(prefix="lab-"))
        self.folder.chmod(0o755)
        self._session = requests.Session()
        self._session.trust_env = False
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()
        for process in reversed(self._processes):
            # SIGINT is PostgreSQL's fast shutdown and gunicorn's quick one.
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # a gunicorn that is killed leaves its worker
                process.wait()
        shutil.rmtree(self.folder)

    def control(self, do: str, **order: Any) -> Any:
        """Call a verb of lab.py.

        Raises:
            requests.HTTPError: it failed.
        """
        answer = self._session.post(f"{self.url}/control/", json={"do": do, **order}, timeout=30)
        answer.raise_for_status()
        return answer.json()["answer"]

    def _start(self) -> None:
        data = self.folder / "db"
        data.mkdir()
        user = _unprivileged()
        if user is not None:
            os.chown(data, user.pw_uid, user.pw_gid)
        log = self.folder / "log"
        become: dict[str, Any] = {}
        if user is not None:
            become = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        with log.open("wb") as out:
            common: dict[str, Any] = {"stdout": out, "stderr": out, "stdin": subprocess.DEVNULL, "cwd": "/"}
            cluster = data / "cluster"
            # fmt: off
            initdb = [
                self._binaries / "initdb", "-D", cluster, "-U", "lab", "-A", "trust", "-E", "UTF8",
                "--no-locale", "--no-sync",
            ]
            # fmt: on
            if subprocess.run(initdb, **common, **become).returncode:
                raise LabBroken(_tail(log))
            db_port = _free_port()
            options = {
                "listen_addresses": "127.0.0.1",
                "port": str(db_port),
                "unix_socket_directories": str(data),
                "fsync": "off",  # what a crash of the machine would lose is of no use to anybody
                "shared_buffers": "16MB",
                "max_connections": "30",
            }
            settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
            self._spawn([self._binaries / "postgres", "-D", cluster, *settings], {**common, **become})
            self._wait(lambda: _listens(db_port), log)

            environment = {
                "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
                "LAB_FOLDER": str(self.folder),
                "LAB_DB_PORT": str(db_port),
                "PYTHONPATH": str(HERE),
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            python = VENV / "bin" / "python"
            if subprocess.run([python, HERE / "lab.py"], env=environment, **common).returncode:
                raise LabBroken(_tail(log))
            port = _free_port()
            # fmt: off
            gunicorn = [
                python, "-m", "gunicorn", "lab:application", "--bind", f"127.0.0.1:{port}", "--workers", "1",
                "--threads", "8", "--worker-class", "gthread", "--keep-alive", "5", "--no-control-socket",
            ]
            # fmt: on
        self.url = f"http://127.0.0.1:{port}"
        self._server = (gunicorn, environment, port)
        self.start_server()

    def start_server(self) -> None:
        """Start the server before the database: the first time, or again on its port after `kill_server`."""
        command, environment, port = self._server
        log = self.folder / "log"
        with log.open("ab") as out:
            plain: dict[str, Any] = {"stdout": out, "stderr": out, "stdin": subprocess.DEVNULL, "cwd": "/"}
            self._spawn(command, {**plain, "env": environment})
        self._wait(lambda: _listens(port), log)

    def server_processes(self) -> list[psutil.Process]:
        """The server's master and its workers."""
        master = psutil.Process(self._processes[-1].pid)
        return [master, *master.children(recursive=True)]

    def kill_server(self) -> None:
        """SIGKILL to the server; the database lives on."""
        everybody = self.server_processes()
        for process in everybody:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(everybody, timeout=10)
        self._processes.pop().wait()

    def _spawn(self, command: list[Any], options: dict[str, Any]) -> None:
        # The signal is kept across the change of user because it is set after it, and across exec.
        self._processes.append(
            subprocess.Popen(
                command,
                preexec_fn=lambda: prctl.set_pdeathsig(signal.SIGINT),
                start_new_session=True,
                **options,
            )
        )

    def _wait(self, ready: Callable[[], bool], log: Path) -> None:
        deadline = time.monotonic() + START_S
        while not ready():
            if self._processes[-1].poll() is not None or time.monotonic() > deadline:
                raise LabBroken(_tail(log))
            time.sleep(0.05)


def _postgresql() -> Path:
    """The folder of the newest PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[4]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        raise LabMissing(f"PostgreSQL is missing; install it with: {INSTALL_POSTGRESQL}")
    return Path(on_path).resolve().parent


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom to run PostgreSQL as, None for oneself."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-4000:]
