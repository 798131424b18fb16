"""The gRPC protocol of a multihost group. The leader admits the followers and streams every step to them."""
