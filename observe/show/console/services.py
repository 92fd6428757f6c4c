"""Which services there are, and how they do: the way from "something is wrong" to the page of the one that is."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from observe.model import Alert
from observe.protocols import OddSeries
from observe.show.console.parts import Part, attempt_list
from observe.show.console.templating import severity_of
from observe.show.console.time_range import Range
from observe.show.context import ShowContext


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One service in a list: its name and what is wrong with it now, in words and as the class of its colour."""

    name: str
    says: str = ""
    kind: str = ""


def known_services(context: ShowContext, over: Range) -> Part[list[str]]:
    """Services that sent lines or spans in `over`, and those that targets are labelled with."""
    sent = attempt_list(
        lambda: context.signals.services(over.start_ms * 1_000_000, over.end_ms * 1_000_000) if context.signals else []
    )
    scraped = {target.labels.get("service", "") for target in attempt_list(context.targets).value}
    return Part(sorted({*sent.value, *scraped} - {""}), sent.problem)


def service_rows(names: Iterable[str], firing: Sequence[Alert], odd: Sequence[OddSeries]) -> list[ServiceRow]:
    """Every service, the worst first: with alerts, then with odd series, then the calm ones by name."""
    alerts = Counter(alert.labels.get("service", "") for alert in firing)
    bad = {alert.labels.get("service", "") for alert in firing if severity_of(alert.labels) == "critical"}
    strange = Counter(one.labels.get("service", "") for one in odd)

    def row(name: str) -> ServiceRow:
        if alerts[name]:
            return ServiceRow(name, f"{alerts[name]:,} firing", "critical" if name in bad else "warning")
        return ServiceRow(name, f"{strange[name]:,} odd", "odd") if strange[name] else ServiceRow(name)

    order = {"critical": 0, "warning": 1, "odd": 2, "": 3}
    rows = (row(name) for name in {*names, *alerts, *strange} - {""})
    return sorted(rows, key=lambda one: (order[one.kind], one.name))
