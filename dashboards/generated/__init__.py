"""Generated Grafana boards: `observe boards build` writes them, a test keeps them fresh."""
