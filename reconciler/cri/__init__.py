"""The only package that speaks gRPC to the runtime and uses CRI's generated code: messages become
domain values here, and gRPC's errors become the failures of `domain.runtime`."""

import os

# Read once, when grpc is first imported, so it is set before any module of this package can be:
# gRPC's own lines on stderr, its errors too, would break a log of JSON and the demo's screen.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
