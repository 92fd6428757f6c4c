"""Join spans, logs and alerts by trace_id."""
