"""Show it: HTTP APIs, the console, the boards."""
