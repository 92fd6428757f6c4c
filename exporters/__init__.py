"""One file, one exporter."""
