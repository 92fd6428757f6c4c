"""One file, one exporter. `names()` lists them, `create(name, options)` makes one, `serve` puts it on a port."""

from observe.exporters.collectors import Collector, Exporter, NoData
from observe.exporters.page import Metric, Page
from observe.exporters.registry import Option, create, exporter, names

__all__ = ["Collector", "Exporter", "Metric", "NoData", "Option", "Page", "create", "exporter", "names"]
