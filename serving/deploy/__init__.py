"""Recipes for deploying jaxchat: container, Kubernetes, Ray Serve."""
