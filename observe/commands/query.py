"""``observe query EXPR``: evaluate PromQL on a running server, or on a data folder."""

import argparse
import json
from typing import Any

SUMMARY = "evaluate a PromQL expression"
EXAMPLE = "observe query 'sum by (job) (rate(http_requests_total[5m]))' --range 1h"

_MOST_CURVES = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from observe.client import add_server_arguments

    parser.add_argument("expr", metavar="EXPR", help="a PromQL expression (docs/promql.md)")
    parser.add_argument("--time", metavar="TIME", default="", help="Unix seconds or RFC 3339 (default: now)")
    parser.add_argument("--range", metavar="DURATION", default="", help="draw the time up to --time, such as 1h or 2d")
    parser.add_argument("--step", metavar="DURATION", default="", help="between points (default: fits the width)")
    parser.add_argument("--data", metavar="DIR", default="", help="read this data folder instead of asking a server")
    parser.add_argument("--json", action="store_true", help="print the result as Prometheus' API gives it")
    add_server_arguments(parser)


def run(args: argparse.Namespace) -> int:
    import shutil
    import sys

    from observe.client import printable

    columns = shutil.get_terminal_size((100, 24)).columns
    time_ms, span_ms, step_ms = _times(args, columns)
    ask = _from_folder if args.data else _from_server
    answer = ask(args, time_ms, span_ms, step_ms)
    for remark in (*answer.get("warnings", ()), *answer.get("infos", ())):
        print(printable(remark), file=sys.stderr)
    if args.json:
        print(json.dumps(answer["data"], indent=2))
        return 0
    for line in _drawn(answer["data"], (time_ms - span_ms, time_ms, step_ms), columns):
        print(line)
    return 0


def _times(args: argparse.Namespace, columns: int) -> tuple[int, int, int]:
    """The time asked for, the range before it (0: an instant) and the step, in ms."""
    from observe.clock import SystemClock
    from observe.duration import parse_duration_ms
    from observe.errors import UsageError

    try:
        time_ms = _moment_ms(args.time) if args.time else SystemClock().now_ms()
        span_ms = parse_duration_ms(args.range) if args.range else 0
        step_ms = parse_duration_ms(args.step) if args.step else max(1000, span_ms // (2 * columns) // 1000 * 1000)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if step_ms <= 0:
        raise UsageError("--step must be longer than nothing")
    return time_ms, span_ms, step_ms


def _moment_ms(text: str) -> int:
    from observe.moment import parse_moment_ms

    try:
        return round(float(text) * 1000)
    except (ValueError, OverflowError):
        pass
    try:
        return parse_moment_ms(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: write Unix seconds or 2026-11-21T04:00:00Z") from None


def _from_server(args: argparse.Namespace, time_ms: int, span_ms: int, step_ms: int) -> Any:
    from observe.client import Client

    client = Client.of(args)
    if not span_ms:
        return client.get("/api/v1/query", {"query": args.expr, "time": time_ms / 1000})
    start, end = (time_ms - span_ms) / 1000, time_ms / 1000
    return client.get("/api/v1/query_range", {"query": args.expr, "start": start, "end": end, "step": step_ms / 1000})


def _from_folder(args: argparse.Namespace, time_ms: int, span_ms: int, step_ms: int) -> Any:
    import observe.store
    from observe.promql.engine import Engine
    from observe.promql.render import result_json

    with observe.store.open(args.data) as opened:
        engine = Engine(opened.store)
        if span_ms:
            answer = engine.evaluate_range(args.expr, time_ms - span_ms, time_ms, step_ms)
        else:
            answer = engine.evaluate_instant(args.expr, time_ms)
    data = json.loads(result_json(answer.value)[0])
    return {"data": data, "warnings": answer.warnings, "infos": answer.infos}


def _drawn(data: Any, span: tuple[int, int, int], columns: int) -> list[str]:
    """The lines to print. `span` is begin, end and step of the curves in ms."""
    from observe.client import printable
    from observe.promql.draw import clock, table

    if data["resultType"] in {"scalar", "string"}:
        return [printable(data["result"][1])]
    if not data["result"]:
        return ["no series has a value at this time"]
    named = [(printable(_name(row["metric"])), row) for row in data["result"]]
    if data["resultType"] == "vector":
        return table([(name, float(row["value"][1])) for name, row in named], columns)
    if span[0] == span[1]:  # an instant query of a range vector: its samples
        return [line for name, row in named
                for line in (name, *(f"  {clock(round(float(at) * 1000))}  {value}" for at, value in row["values"]))]
    return _curves([(name, row["values"]) for name, row in named], span, columns)


def _curves(rows: list[tuple[str, list[Any]]], span: tuple[int, int, int], columns: int) -> list[str]:
    from observe.promql.draw import chart, clock, number, spark

    begin, end, step = span
    curves = []
    for name, points in rows:
        at = {round(float(time) * 1000): float(value) for time, value in points}
        curves.append((name, [at.get(time) for time in range(begin, end + 1, step)]))
    if len(curves) == 1:
        name, curve = curves[0]
        return [name, *chart(curve, begin, end, columns)]
    width = max(20, columns // 3)
    lines = [f"{clock(begin)} to {clock(end)}; the last value, and the range of all"]
    for name, curve in curves[:_MOST_CURVES]:
        known = [value for value in curve if value is not None] or [float("nan")]
        said = f"{number(known[-1])} ({number(min(known))} to {number(max(known))})"
        lines.append(f"{spark(curve, width):<{width}}  {said:<28} {name}")
    if len(curves) > _MOST_CURVES:
        lines.append(f"{len(curves) - _MOST_CURVES} more series; aggregate them, or use topk")
    return lines


def _name(metric: dict[str, str]) -> str:
    from observe.model import Labels

    return str(Labels(metric))
