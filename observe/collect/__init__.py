"""Bring samples, spans and log lines in: discovery, scrape, exposition, OTLP, file tail, remote write."""
