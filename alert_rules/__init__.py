"""The rules that ship with observe, by area; `tests/` holds their rule tests."""

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent
