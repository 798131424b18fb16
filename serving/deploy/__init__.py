"""Recipes for running jaxchat elsewhere: container, Kubernetes, Ray Serve."""
