"""The clients, at the versions that are tested. This file alone has the versions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "tests" / "clients"
Language = Literal["Python", "JavaScript"]


@dataclass(frozen=True, kw_only=True)
class ChatClient:
    """A client, its packages and the program that drives it.

    Attributes:
        name: name for users.
        program: file in `tests/clients`, which runs with the packages installed.
        packages: requirements for pip, or for npm if the program is JavaScript. The first one is the client itself.
        environment: folder to install into. Clients with the same folder are installed together. Default: the name of
            the program without its suffix.
    """

    name: str
    program: str
    packages: tuple[str, ...]
    environment: str = ""

    @property
    def language(self) -> Language:
        return "JavaScript" if self.program.endswith(".mjs") else "Python"

    @property
    def path(self) -> Path:
        return PROGRAMS / self.program

    @property
    def folder(self) -> str:
        """Name of the environment's folder."""
        return self.environment or self.path.stem

    @property
    def version(self) -> str:
        """Version of the client itself, such as 1.2.3."""
        return self.packages[0].replace("==", "@").rpartition("@")[2]


OPENAI = "openai==3.57.0"
BUF = ("@bufbuild/buf@1.75.0", "@bufbuild/protoc-gen-es@2.13.0")
CLIENTS = (
    ChatClient(name="openai 1", program="openai_1.py", packages=("openai==1.30.5", "httpx==0.27.2")),
    ChatClient(name="openai", program="openai_newest.py", packages=(OPENAI,)),
    ChatClient(
        name="openai, responses", program="openai_responses.py", packages=(OPENAI,), environment="openai_newest"
    ),
    ChatClient(
        name="langchain",
        program="langchain_agent.py",
        packages=("langchain-openai==1.7.4", "langchain==1.5.2", "langgraph==1.2.24"),
    ),
    ChatClient(
        name="llama-index",
        program="llama_index_openai_like.py",
        packages=("llama-index-llms-openai-like==0.8.1",),
        environment="llama_index",
    ),
    ChatClient(
        name="llama-index, responses",
        program="llama_index_responses.py",
        packages=("llama-index-llms-openai==0.8.3",),
        environment="llama_index",
    ),
    ChatClient(
        name="litellm", program="litellm_completion.py", packages=("litellm==1.110.2",), environment="llama_index"
    ),
    ChatClient(
        name="instructor", program="instructor_models.py", packages=("instructor==1.17.0",), environment="instructor"
    ),
    ChatClient(
        name="smolagents",
        program="smolagents_agent.py",
        packages=("smolagents[openai]==1.26.0",),
        environment="instructor",
    ),
    ChatClient(
        name="strands",
        program="strands_agent.py",
        packages=("strands-agents[openai]==1.62.0",),
        environment="instructor",
    ),
    ChatClient(
        name="pydantic-ai",
        program="pydantic_ai_agent.py",
        packages=("pydantic-ai-slim[openai]==2.68.0",),
        environment="pydantic_ai",
    ),
    ChatClient(
        name="openai-agents",
        program="openai_agents.py",
        packages=("openai-agents==0.24.0",),
        environment="pydantic_ai",
    ),
    ChatClient(
        name="guidance", program="guidance_blocks.py", packages=("guidance==0.3.1", OPENAI), environment="gradio"
    ),
    ChatClient(name="gradio", program="gradio_load_chat.py", packages=("gradio==6.31.0", OPENAI), environment="gradio"),
    ChatClient(
        name="openai-node",
        program="openai_node.mjs",
        packages=("openai@6.49.0", "zod@4.6.7"),
        environment="javascript",
    ),
    ChatClient(
        name="ai-sdk",
        program="ai_sdk.mjs",
        packages=("ai@6.0.326", "@ai-sdk/openai@3.0.141", "zod@4.6.7"),
        environment="javascript",
    ),
    ChatClient(name="codex", program="codex.mjs", packages=("@openai/codex@0.171.0", *BUF)),
    ChatClient(
        name="grpc-js",
        program="grpc_js.mjs",
        packages=("@grpc/grpc-js@1.14.7", "@grpc/proto-loader@0.8.1"),
        environment="javascript",
    ),
    ChatClient(
        name="connect-node",
        program="connect_node.mjs",
        packages=("@connectrpc/connect-node@2.1.2", "@connectrpc/connect@2.1.2", "@bufbuild/protobuf@2.13.0", *BUF),
        environment="javascript",
    ),
    ChatClient(name="buf-curl", program="buf_curl.mjs", packages=BUF, environment="javascript"),
)
