"""Templates of the console: jinja2, autoescaped."""
