"""What would have happened: a node's past, recorded or made up, under other marks and orders.

Imported by `reconciler simulate` and the benchmark only. The order of removal that it calls
`keepscore` is the daemon's own (domain/ranking/keepscore.py), fed by the daemon's own memory.
"""
