"""Trials on a real chat model, Qwen2.5-Coder-0.5B-Instruct, if its weights can be downloaded."""
