"""PromQL over columns: parse, then evaluate whole range queries as matrices."""
