"""Run the product: watch this machine, what observe.yml names, and with --demo a gateway that misbehaves for show."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from observe.clock import SystemClock
from observe.errors import ObserveError, UsageError

if TYPE_CHECKING:
    from observe.app import App, Status
    from observe.config import Config
    from observe.demo.launch import Demo
    from observe.live import LiveLine
    from observe.model import Alert

SUMMARY = "run observe on this machine: collect, judge, page and show"
EXAMPLE = "observe up --demo --webhook http://127.0.0.1:5001/page"

_DATA = Path("observe-data")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="observe.yml (default: watch this machine only)")
    parser.add_argument("--listen", metavar="HOST:PORT", help="console and APIs (default: 127.0.0.1:9900)")
    parser.add_argument("--data", type=Path, metavar="DIR", help=f"where everything is kept (default: ./{_DATA})")
    parser.add_argument("--webhook", action="append", default=[], metavar="URL", help="page here too; may be repeated")
    parser.add_argument("--demo", action="store_true", help="run a demo gateway under load, and let it misbehave once")
    parser.add_argument("--no-incident", action="store_true", help="with --demo: inject no fault by itself")


def run(args: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    if args.no_incident and not args.demo:
        raise UsageError("--no-incident is for --demo")
    from observe import memory
    from observe.children import Children
    from observe.demo.launch import Demo
    from observe.listening import check_free
    from observe.live import LiveLine

    memory.spare()
    screen = LiveLine(sys.stdout)
    demo = Demo.plan(args.data or _DATA) if args.demo else None
    overrides = _overrides(args, demo)
    config = _load(args, overrides)
    check_free(*config.address)
    from observe.app import App

    app = App(config, lambda: _load(args, overrides))
    children = Children()
    try:
        if demo is not None:
            demo.start(children.start, app.url)
        return asyncio.run(_main(app, demo, children.ended, screen, incident=not args.no_incident))
    finally:
        children.stop()
        app.close()
        screen.close()
        screen.say("observe has stopped")


def _load(args: argparse.Namespace, overrides: dict[str, Any]) -> "Config":
    """The configuration. Raises ConfigError with all that is wrong; what is merely not supported is printed."""
    from observe.demo.launch import Demo
    from observe.preflight import ready

    config, unsupported = ready(args.config, overrides, Demo.defaults() if args.demo else None)
    for problem in unsupported:
        print(f"note: {problem}", file=sys.stderr)
    return config


def _overrides(args: argparse.Namespace, demo: "Demo | None") -> dict[str, Any]:
    from observe.config_parts import web_address
    from observe.listening import parse_address

    given: dict[str, Any] = demo.settings() if demo is not None else {}
    if args.listen:
        parse_address(args.listen)
        given["listen"] = args.listen
    if args.data:
        given["data"] = args.data
    if args.webhook:
        try:
            given.setdefault("notify", {})["webhooks"] = [{"url": web_address(url)} for url in args.webhook]
        except ValueError as error:
            raise UsageError(f"--webhook: {error}") from error
    return given


async def _main(
    app: "App", demo: "Demo | None", ended: Callable[[], list[tuple[str, int]]], screen: "LiveLine", *, incident: bool,
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: loop.run_in_executor(None, _reload, app, screen))
    screen.say(f"console and APIs: {app.url}")
    telling = None
    if demo is not None:
        screen.say(f"demo gateway: {demo.url}/faults (more faults: observe demo --port {demo.port} --fault NAME)")
        if incident:
            telling = asyncio.create_task(_tell(app, demo, screen))
    watching = asyncio.create_task(_watch(app, ended, screen, stop))
    try:
        await app.run(stop)
    finally:
        for task in (telling, watching):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
    return 0


async def _tell(app: "App", demo: "Demo", screen: "LiveLine") -> None:
    from observe.demo import story

    def ready() -> bool:
        status = app.status(story.PAGING_RULE)
        return status.bands > 0 and status.bands == status.bands_ready

    await story.tell(demo.url, ready, screen.say)


async def _watch(
    app: "App", ended: Callable[[], list[tuple[str, int]]], screen: "LiveLine", stop: asyncio.Event,
) -> None:
    """Keep the live line fresh, and say what starts to fire, what ends, and which child has died."""
    clock, before = SystemClock(), dict[str, "Alert"]()
    while not stop.is_set():
        status = await asyncio.to_thread(app.status)
        firing = {alert.fingerprint: alert for alert in status.firing if alert.name != "Watchdog"}
        for key, alert in firing.items():
            if key not in before:
                screen.say(f"FIRING   {_headline(alert)}\n         {app.url}/alerts/{key}")
        for key, alert in before.items():
            if key not in firing:
                screen.say(f"RESOLVED {_over(alert, app.clock.now_ms())}")
        for module, code in ended():
            screen.say(f"{module} has ended with code {code}; see the demo folder in the data folder")
        before = firing
        screen.show(_line(status, len(firing)), clock.monotonic())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1.0)


def _headline(alert: "Alert") -> str:
    said = alert.annotations.get("summary") or alert.name
    return f"{said} [{alert.labels.get('severity', 'no severity')}]"


def _over(alert: "Alert", now_ms: int) -> str:
    """What is over and how long it was on; its summary would still say what it was like at its worst."""
    from observe.duration import format_duration

    names = ("service", "endpoint", "instance", "queue")
    about = " ".join(alert.labels[name] for name in names if name in alert.labels)
    lasted = format_duration(max(1000, (now_ms - alert.starts_at_ms) // 1000 * 1000))
    return f"{alert.name}{f' of {about}' if about else ''}, after {lasted}"


def _line(status: "Status", firing: int) -> str:
    if not status.targets:
        return "starting"
    targets = f"{status.targets_up} of {status.targets} targets up"
    if status.learning:
        targets += f", {status.learning} rules learn from history"
    if not status.bands:
        return f"{targets}, no series watched by a band yet, {firing} firing"
    if status.bands_ready < status.bands:
        return f"{targets}, baselines {status.bands_ready} of {status.bands} ready, {firing} firing"
    return f"{targets}, all {status.bands} baselines ready, {firing} firing"


def _reload(app: "App", screen: "LiveLine") -> None:
    try:
        screen.say(f"reloaded: {app.reload()}")
    except ObserveError as error:
        screen.say(f"reload refused, the old configuration stays:\n{error}")
