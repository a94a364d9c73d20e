"""The package that watches a source of pods: which pods are bound to this node, and which images
they need, before the runtime has made anything for them. Sources are kubelet's socket, kubelet's
`/pods` and the API server; the package puts facts into the mailbox, nothing else."""

import os

# As in cri: gRPC's own lines on stderr would break a log of JSON.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
