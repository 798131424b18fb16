"""The processes of a pod over gRPC: process 0 takes the others in and streams them every step."""
