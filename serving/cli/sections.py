"""Headings of the flags of `jaxchat serve`, each with its settings in the order of the help."""

from __future__ import annotations

SERVER = {
    "addresses": ("host", "grpc_port", "rest_port", "metrics_port"),
    "access": ("api_keys", "cors_origin", "tls_cert", "tls_key", "tls_client_ca"),
    "start and stop": ("startup_prompt", "shutdown_grace"),
    "bodies of requests": ("max_body", "allow_unknown_fields"),
    "metrics, traces and events": (
        "metrics_prefix",
        "otlp_endpoint",
        "kv_events",
        "kv_events_replay",
        "kv_events_topic",
    ),
}
"""Settings of `ServeConfig`."""
REQUESTS = {
    "limits of requests": ("request_timeout", "max_buffered_bytes"),
    "prompts and answers": (
        "chat_template_kwargs",
        "template_date",
        "tool_format",
        "reasoning_format",
        "named_tool_finish_reason",
    ),
}
"""Settings of `ChatConfig`, without `served_model_name`."""
ENGINE = {
    "engine: sequences and memory": ("slots", "max_seq_len", "max_queued", "pages", "page_size"),
    "engine: precision": ("dtype", "quantize", "kv_dtype"),
    "engine: devices": ("tensor_parallel", "data_parallel", "expert_parallel"),
    "engine: how answers are computed": ("determinism", "speculate", "logprobs", "logits_processors"),
    "engine: programs and kernels": (
        "prefill_chunk",
        "prefill_buckets",
        "decode_buckets",
        "attention",
        "cpu_matmul",
        "cache_dir",
    ),
}
"""Settings of `EngineConfig`."""
