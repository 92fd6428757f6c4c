"""Run the demo gateway with its load, or switch a fault of a running one."""

import argparse
import json
import signal
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

from observe.errors import Unavailable, UsageError

SUMMARY = "run the demo model-serving gateway under load, or switch one of its faults"
EXAMPLE = "observe demo --fault slow_decode --seconds 60"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8089, help="port of the gateway (default: 8089)")
    parser.add_argument("--rate", type=float, default=4.0, help="requests a second (default: 4)")
    parser.add_argument("--otlp", metavar="URL", help="OTLP/HTTP receiver of its spans, such as http://127.0.0.1:9900")
    parser.add_argument("--log", type=Path, metavar="FILE", help="write the JSON request log here")
    parser.add_argument("--fault", metavar="NAME", help="switch this fault on in the gateway that runs on --port: "
                        "slow_decode, queue_pileup, error_burst, memory_leak or cache_wipe")
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long (default: 60; 0 switches it off)")


def run(args: argparse.Namespace) -> int:
    if args.fault:
        return _switch(args.port, args.fault, args.seconds)
    return _serve(args)


def _switch(port: int, fault: str, seconds: float) -> int:
    url = f"http://127.0.0.1:{port}/faults/{fault}"
    url, method = (f"{url}?seconds={seconds}", "POST") if seconds > 0 else (url, "DELETE")
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5) as answer:  # noqa: S310
            active = json.load(answer)["active"]
    except urllib.error.HTTPError as error:
        raise UsageError(json.load(error).get("detail", str(error))) from error
    except OSError as error:
        why = getattr(error, "reason", error)
        raise Unavailable(
            f"no demo gateway answers on port {port} ({why}); start one with `observe demo` or `observe up --demo`",
        ) from error
    print("active faults: " + (", ".join(f"{name} for {left:.0f} s" for name, left in active.items()) or "none"))
    return 0


def _serve(args: argparse.Namespace) -> int:
    from observe.children import Children
    from observe.listening import check_free

    check_free("127.0.0.1", args.port, "--port PORT")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell started it in the background, deaf to Ctrl-C
        signal.signal(number, lambda *_: stop.set())
    children = Children()
    folder = Path(tempfile.mkdtemp(prefix="observe-demo-"))
    gateway = ["--port", str(args.port), *(["--otlp", args.otlp] if args.otlp else [])]
    gateway += ["--log", str(args.log or folder / "gateway.jsonl")]
    children.start("observe.demo", gateway, folder / "gateway.out")
    children.start("observe.demo.load", ["--port", str(args.port), "--rate", str(args.rate)], folder / "load.out")
    print(f"gateway on http://127.0.0.1:{args.port} (/metrics, /faults), log {gateway[-1]}; Ctrl-C stops")
    try:
        while not stop.wait(1.0):
            for module, code in children.ended():
                raise Unavailable(f"{module} ended with code {code}; see {folder}")
    finally:
        children.stop()
    return 0
