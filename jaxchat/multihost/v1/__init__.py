"""Generated messages of the multihost protocol. Never edit `*_pb2*`."""
