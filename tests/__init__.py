"""The tests, and what they share. They start hundreds of processes: what those import is compiled
once, also where the environment would have each of them compile it anew."""

import os
import sys

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
