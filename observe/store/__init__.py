"""Keep what was collected: metrics (columnar head, write-ahead log, Parquet), logs and spans (spool, index)."""
