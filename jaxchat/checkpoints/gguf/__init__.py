"""Reads models from GGUF files, the format of llama.cpp, one file with weights, configuration and tokenizer."""
