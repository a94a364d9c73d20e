"""Long-running tasks: each watches one thing and reports facts; none decides anything."""
