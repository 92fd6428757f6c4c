"""A process that takes alerts and pages; to be killed. `python -m tests.notify.child FOLDER URL FIRST COUNT`.

It accepts COUNT alerts, one a group, prints the name of each once it is accepted, then delivers until its input ends.
"""

import asyncio
import sys
import threading
from pathlib import Path

from observe.clock import SystemClock
from observe.model import Alert, AlertState, Labels, Reason
from observe.notify.notifier import Notifier
from observe.notify.settings import NotifySettings, WebhookSettings
from observe.telemetry import Telemetry


def main() -> None:
    folder, url, first, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    clock = SystemClock()
    settings = NotifySettings((WebhookSettings("hook", url),), group_wait_ms=50, group_by=("...",), retry_first_ms=50)
    notifier = Notifier(settings, folder, clock, Telemetry())

    def work() -> None:
        for number in range(first, first + count):
            now = clock.now_ms()
            labels = Labels({"alertname": f"A{number}"})
            notifier.accept(
                [Alert(labels, {}, AlertState.FIRING, now, None, now, Reason.CONDITION_MET, "g/A")], now)
            print(f"A{number}", flush=True)

    async def live() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        threading.Thread(target=work, daemon=True).start()
        threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(stop.set)), daemon=True).start()
        await notifier.run(stop)

    asyncio.run(live())


if __name__ == "__main__":
    main()
