"""This machine: its locks and clocks, systemd, and the configuration of kubelet and crictl."""
