"""What the daemon shows on `--listen`: /healthz, /readyz, /metrics. It changes nothing."""
