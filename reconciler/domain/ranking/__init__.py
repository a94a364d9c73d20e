"""Which candidate goes first. Nothing here keeps an image: that is `protections`."""
