"""The incident, served for a person to look at: ``python -m tests.show.serve_incident PORT [empty]``."""

import sys
import tempfile
from pathlib import Path

import uvicorn

from observe.show.web import build_web
from tests.show.incident import incident
from tests.show.world import empty_world


def main() -> None:
    port, kind = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "incident"
    with tempfile.TemporaryDirectory() as folder:
        world = (empty_world if kind == "empty" else incident)(Path(folder))
        uvicorn.run(build_web(world.context), host="127.0.0.1", port=port, log_level="warning")
        world.close()


if __name__ == "__main__":
    main()
