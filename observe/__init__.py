"""An observability and auto-alerting stack for teams that serve models."""

from observe._version import __version__

__all__ = ["__version__"]
