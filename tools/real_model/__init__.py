"""Trials on a real chat model, Qwen2.5-Coder-0.5B-Instruct, where its weights can be had."""
