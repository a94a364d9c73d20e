"""What would have happened: a node's past, recorded or made up, under other marks and orders.

Imported by `reconciler simulate` and the benchmark only. Its order of removal `keepscore` is the
daemon's own (domain/ranking/keepscore.py), on the daemon's own memory.
"""
