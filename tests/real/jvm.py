"""Real JVMs for tests: a small program that allocates, keeps, asks for Full GCs and then stands still."""

import os
import subprocess
from pathlib import Path

from tests.real.process import RealProcess, require

SOURCE = Path(__file__).parents[1] / "exporters" / "jvm" / "Churn.java"
_JDKS = tuple(str(home / "bin") for home in sorted(Path("/usr/lib/jvm").glob("*")))


def jdks() -> list[Path]:
    """The bin folders of every JDK here, the one on PATH first; each once."""
    java = Path(require("java", *_JDKS)).resolve().parent
    others = [Path(folder).resolve() for folder in _JDKS if (Path(folder) / "javac").exists()]
    return list(dict.fromkeys([java, *others]))


def compile_churn(jdk: Path, folder: Path) -> None:
    """Churn.class in `folder`, for JDK 17 and later."""
    command = [str(jdk / "javac"), "--release", "17", "-d", str(folder), str(SOURCE)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)


def start_churn(
    jdk: Path, folder: Path, *flags: str, rounds: int = 3000, fulls: int = 2, name: str = "churn",
) -> RealProcess:
    """A JVM that has done its `rounds` of allocations and `fulls` Full GCs when this returns, and then stands still.

    stderr and stdout are in its log; its classes are expected in `folder`.
    """
    argv = [str(jdk / "java"), "-Xms64m", "-Xmx64m", *flags, "-cp", str(folder), "Churn", str(rounds), str(fulls)]
    jvm = RealProcess(name, [*argv, "--password=secret"], folder, env={"JAVA_TOOL_OPTIONS": ""})
    return jvm.wait_healthy(lambda: "READY" in jvm.output(), timeout_s=60)


def tool(jdk: Path, name: str, *words: str) -> str:
    """What jstat, jcmd and the like print."""
    return subprocess.run(
        [str(jdk / name), *words], check=True, capture_output=True, text=True, timeout=300, env={**os.environ},
    ).stdout
