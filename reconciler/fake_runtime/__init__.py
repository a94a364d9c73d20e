"""A container runtime in memory that speaks CRI over a unix socket, with the habits of real ones.

For `reconciler demo`, tests and benchmarks; the daemon never imports it.
"""
