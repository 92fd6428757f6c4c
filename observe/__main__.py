"""`python -m observe` is the command line."""

import sys

from observe.cli import main

sys.exit(main())
