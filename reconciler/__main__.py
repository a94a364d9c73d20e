"""`python -m reconciler` is the command `reconciler`."""

import sys

from .cli import main

sys.exit(main())
