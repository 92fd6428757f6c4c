"""One module a command of the command line; `observe.cli` finds them by name."""
