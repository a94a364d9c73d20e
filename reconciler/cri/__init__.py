"""The only room where gRPC and generated code are spoken: messages become domain values here, and
gRPC's errors become the failures of `domain.runtime`."""
