"""Generated messages of the pod protocol. Never edit `*_pb2*`."""
