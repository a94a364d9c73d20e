"""The commands other than `run`: each reads runtime and ledger itself, with or without a daemon.

Heavy imports (rich, the fake runtime) stay inside the commands that need them: the daemon runs
on every node and imports none of this.
"""
