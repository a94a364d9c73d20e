"""The pure core: what is known about a node, and which image may go.

Nothing below this package awaits, logs, reads a clock or touches a file; it imports the standard
library only (held by tests/test_layers.py). Times are seconds since 1970 as floats and always come
in as arguments; durations are seconds; sizes are bytes.
"""
