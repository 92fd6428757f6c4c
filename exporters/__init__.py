"""One file, one exporter. `names()` lists them, `create(name, options)` makes one, `serve` puts it on a port."""

from observe.exporters.framework import Collector, Exporter, Metric, NoData, Option, Page, create, exporter, names

__all__ = ["Collector", "Exporter", "Metric", "NoData", "Option", "Page", "create", "exporter", "names"]
