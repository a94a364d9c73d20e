"""A container runtime in memory that speaks CRI over a unix socket, with real ones' habits.

For `reconciler demo`, tests and benchmarks; the daemon never imports it.
"""
