"""`python -m reconciler` is the command `reconciler`."""

import sys

from .cli.main import main

sys.exit(main())
