"""Reports what happens: the log, the metrics, Kubernetes Events."""
