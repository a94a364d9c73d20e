"""Keeps a node's image filesystem between two watermarks, and never removes the wrong image."""

__version__ = "0.1.0"
