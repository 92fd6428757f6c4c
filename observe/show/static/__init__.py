"""Style sheet, script and icon of the console, served under /static/."""
