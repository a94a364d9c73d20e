"""The HTTP server on `--listen`: /healthz, /readyz, /metrics, /api/v1 and the page."""
