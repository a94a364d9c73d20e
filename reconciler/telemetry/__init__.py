"""What happens, told: the log, the metrics, Kubernetes Events."""
