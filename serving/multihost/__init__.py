"""Several processes that serve one model, over gRPC: process 0 admits the others and streams every step to them."""
