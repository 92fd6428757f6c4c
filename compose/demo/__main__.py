"""Run the gateway: `python -m observe.demo --port 8080 --otlp http://127.0.0.1:9900 --log gateway.jsonl`."""

import argparse
import os
from pathlib import Path

from observe.demo.process import die_with_parent

# One thread for the linear algebra: set before NumPy is imported.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


def main() -> None:
    die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m observe.demo", description="The demo's model-serving gateway.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--otlp", default=None, metavar="URL", help="base URL of an OTLP/HTTP receiver")
    parser.add_argument("--log", type=Path, default=None, metavar="FILE", help="JSON-lines log file")
    args = parser.parse_args()

    import uvicorn

    from observe.demo.faults import Faults
    from observe.demo.gateway import build
    from observe.demo.signals import RequestLog, tracer_provider

    app = build(tracer_provider(args.otlp), RequestLog(args.log), Faults())
    uvicorn.run(app, host=args.host, port=args.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
