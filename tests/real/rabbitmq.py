"""A real RabbitMQ on loopback ports with its management API and Prometheus plugin; user and password are ``obs``."""

import json
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from observe.exporters.fetch import basic
from tests.real.process import RealProcess, free_port, require, wait_until

USER = PASSWORD = "obs"
_PLACES = tuple(str(path) for path in Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"))
"""The scripts themselves: the packages' wrappers insist on the system's own node."""

CONFIG = """
listeners.tcp.default = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = {prometheus}
default_user = obs
default_pass = obs
loopback_users = none
log.console = true
log.file = false
"""
LIMITS = """
vm_memory_high_watermark.absolute = 256MiB
disk_free_limit.absolute = 50MB
collect_statistics_interval = 1000
"""


class RabbitServer(RealProcess):
    """`url` is the management API, `prometheus_url` the plugin, `amqp_url` for clients."""

    def __init__(self, folder: Path, limits: str = LIMITS) -> None:
        self._scripts = Path(require("rabbitmq-env", *_PLACES)).parent
        ports = {name: free_port() for name in ("amqp", "management", "prometheus", "distribution", "epmd")}
        self.url = f"http://127.0.0.1:{ports['management']}"
        self.prometheus_url = f"http://127.0.0.1:{ports['prometheus']}"
        self.amqp_url = f"amqp://{USER}:{PASSWORD}@127.0.0.1:{ports['amqp']}/"
        for name in ("mnesia", "log", "etc"):
            (folder / name).mkdir()
        (folder / "etc/rabbitmq.conf").write_text(CONFIG.format(**ports) + limits, encoding="utf-8")
        (folder / "etc/enabled_plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].\n", encoding="utf-8")
        self._env = {
            "HOME": str(folder), "RABBITMQ_NODENAME": f"obs{ports['amqp']}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(ports["distribution"]), "ERL_EPMD_PORT": str(ports["epmd"]),
            "ERL_EPMD_ADDRESS": "127.0.0.1", "RABBITMQ_CONFIG_FILE": str(folder / "etc/rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "etc/enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"), "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none",
        }
        user = "rabbitmq" if os.geteuid() == 0 else ""
        super().__init__("rabbitmq", [str(self._scripts / "rabbitmq-server")], folder, env=self._env, user=user)
        self.wait_healthy(lambda: {"amqp", "http", "http/prometheus"} <= self._listening(), timeout_s=60)

    def _listening(self) -> set[str]:
        """The protocols it serves: the management API, which says so, is there before the others."""
        return {one["protocol"] for one in self.api("overview")["listeners"]}

    def stop(self, timeout_s: float = 0.5) -> int:
        """Stop the node (in order it would take six seconds), and the port mapper that it would leave behind."""
        status = super().stop(timeout_s)
        mapper = shutil.which("epmd")
        if mapper:
            end = [mapper, "-kill"]
            env = {**os.environ, **self._env}
            # It refuses until it has seen the node's end.
            wait_until(lambda: subprocess.run(end, check=False, capture_output=True, env=env).returncode == 0
                       or subprocess.run([mapper, "-names"], check=False, capture_output=True, env=env).returncode != 0,
                       "epmd ends")
        return status

    def control(self, *words: str) -> str:
        """What ``rabbitmqctl WORDS`` prints, run as the server's own user."""
        become = ["setpriv", "--reuid=rabbitmq", "--regid=rabbitmq", "--clear-groups"] if os.geteuid() == 0 else []
        return subprocess.run(
            [*become, str(self._scripts / "rabbitmqctl"), "-q", *words], check=True, capture_output=True, text=True,
            timeout=300, env={**os.environ, **self._env}, cwd=self.folder,
        ).stdout

    def api(self, path: str) -> Any:
        """A reply of the management API, decoded."""
        request = urllib.request.Request(f"{self.url}/api/{path}", headers=basic(USER, PASSWORD))
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
