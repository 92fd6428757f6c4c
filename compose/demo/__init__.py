"""A small model-serving gateway to watch: real work, real telemetry, switchable faults."""
