"""Boards as code: `*.dashboard.py` over `panels.py`, generated JSON beside them."""
