"""Certificates as they go wrong, made by openssl: an own CA, and leaves good, expired, early and misnamed.

Runs in: tools (tests).
"""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

EXTENSIONS = "subjectAltName={names}\nbasicConstraints=CA:FALSE\n"


class Authority:
    """A CA in a folder. `bundle` is its certificate."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.bundle = folder / "ca.pem"
        key = folder / "ca.key"
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", key, "-out", self.bundle, "-days", "30", "-subj", "/CN=Laboratory CA"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )

    def leaf(
        self,
        name: str,
        *,
        names: str = "IP:127.0.0.1,DNS:localhost",
        starts: str = "20200101000000Z",
        ends: str = "20990101000000Z",
    ) -> ssl.SSLContext:
        """A server's context with a certificate of this CA. Times are YYYYmmddHHMMSSZ."""
        folder = self._folder
        request, key, certificate = (folder / f"{name}.{end}" for end in ("csr", "key", "pem"))
        self._openssl(
            *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", key, "-out", request, "-subj", "/CN=laboratory"),
        )
        extensions = folder / f"{name}.cnf"
        extensions.write_text(EXTENSIONS.format(names=names))
        # `openssl x509` of Debian 12 knows no dates but "days from now": `openssl ca` does.
        home = folder / f"{name}.ca"
        home.mkdir()
        (home / "index.txt").touch()
        config = home / "ca.cnf"
        config.write_text(
            f"[ca]\ndefault_ca=it\n[it]\ndatabase={home}/index.txt\nnew_certs_dir={home}\nrand_serial=yes\n"
            "default_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n"
        )
        self._openssl(
            *("ca", "-batch", "-notext", "-config", config, "-in", request, "-out", certificate),
            *("-cert", self.bundle, "-keyfile", folder / "ca.key", "-extfile", extensions),
            *("-startdate", starts, "-enddate", ends),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context

    def _openssl(self, *words: object) -> None:
        done = subprocess.run(
            ["openssl", *map(str, words)], cwd=self._folder, capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, done.stderr
