"""The loop: takes facts, decides, and carries out at most one removal at a time."""
