"""A certificate authority and a server certificate for loopback, made by openssl."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.real.process import require


@dataclass(frozen=True)
class Certificates:
    authority: Path
    certificate: Path
    key: Path


def make(folder: Path, name: str = "node") -> Certificates:
    """For 127.0.0.1 and localhost, good for a day."""
    openssl = require("openssl")

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], check=True, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN=test authority {name}",
        "-keyout", f"{name}-ca.key", "-out", f"{name}-ca.crt")
    run("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", f"{name}.key",
        "-out", f"{name}.csr")
    (folder / f"{name}.ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    run("x509", "-req", "-in", f"{name}.csr", "-CA", f"{name}-ca.crt", "-CAkey", f"{name}-ca.key", "-CAcreateserial",
        "-days", "1", "-extfile", f"{name}.ext", "-out", f"{name}.crt")
    return Certificates(folder / f"{name}-ca.crt", folder / f"{name}.crt", folder / f"{name}.key")
