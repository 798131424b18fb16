"""Generated messages of the multihost protocol. `python -m tools.proto` writes `*_pb2*`; never edit these files."""
