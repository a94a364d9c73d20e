"""What the daemon shows on `--listen`: /healthz, /readyz, /metrics. It reads, and changes nothing."""
