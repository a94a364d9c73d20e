"""What is kept on disk: the ledger, which decisions need, and the history, for people."""
