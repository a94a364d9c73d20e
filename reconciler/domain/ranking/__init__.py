"""Which candidate goes first. Nothing here keeps an image: `protections` does."""
