"""Get the real components that tests need: `make setup-real`. What cannot be had is named, loudly.

Debian packages are installed where we are root on such a machine; services are kept from starting. Anything else is
reported, and the tests that need it say so again; under ``CI`` a missing component is an error.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.real import elasticsearch_node

COMPONENTS = {
    "java": "openjdk-17-jdk-headless",
    "mvn": "maven",
    "gcc": "gcc",
    "openssl": "openssl",
    "setpriv": "util-linux",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
    "prometheus-node-exporter": "prometheus-node-exporter",
    "victoria-metrics": "victoria-metrics",
    "redis-server": "redis-server",
    "rabbitmq-server": "rabbitmq-server",
    "chromium": "chromium",
}
"""Program -> Debian package that brings it."""

POSTGRES = "postgresql-15"
_POLICY = Path("/usr/sbin/policy-rc.d")


def missing() -> dict[str, str]:
    found = {name: package for name, package in COMPONENTS.items() if shutil.which(name) is None}
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        found["postgres"] = POSTGRES
    return found


def install(packages: list[str]) -> None:
    """As root on Debian: one apt transaction, no service started."""
    guard = not _POLICY.exists()
    if guard:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(["apt-get", "update", "-qq"], check=False, env=environment, stdout=subprocess.DEVNULL)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], check=False, env=environment,
            stdout=subprocess.DEVNULL,
        )
    finally:
        if guard:
            _POLICY.unlink()


def main() -> int:
    lacking = missing()
    if lacking and shutil.which("apt-get") and os.geteuid() == 0:
        packages = sorted(set(lacking.values()))
        print(f"real components: installing {', '.join(packages)}", flush=True)
        install(packages)
        lacking = missing()
    elastic = elasticsearch_node.provision()
    present = len(COMPONENTS) + 2 - len(lacking) - bool(elastic)
    named = sorted(lacking) + ([elastic] if elastic else [])
    print(f"real components: {present} present" + (", MISSING: " + ", ".join(named) if named else ""))
    if lacking:
        packages = sorted(set(lacking.values()))
        print(f"  tests that need them will not run; on Debian: apt-get install {' '.join(packages)}")
    return 1 if named and os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main())
