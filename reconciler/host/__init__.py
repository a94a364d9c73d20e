"""This machine: its locks and clocks, systemd, what kubelet and crictl are configured to do."""
