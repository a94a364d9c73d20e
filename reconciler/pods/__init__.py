"""The room that watches who tells of pods: which are bound to this node, and which images they
need, before the runtime has made anything of them. kubelet's socket, kubelet's `/pods`, or the API
server; facts for the mailbox are all that leaves it."""

import os

# As in cri: gRPC's own lines on stderr would break a log of JSON.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
