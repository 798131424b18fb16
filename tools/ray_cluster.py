"""Checks that the bundled model gives the same answers under Ray Serve LLM as from a plain server.

    make ray    checks each way to serve the model, in an environment with Ray

The model runs on a Ray cluster of several nodes on this machine. The `openai` client asks a plain server and then Ray's
HTTP address the same questions. Tokens, log-probabilities and fingerprints must be equal. Then processes of the model
are killed one by one, and the time is measured until Ray has started the model again and it gives the same answers. The
exit status is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
from contextlib import closing
from typing import Any

import openai
import psutil

from tools.server_process import ServerProcess

MODEL = "jaxchat-bundled"
SLOTS = 4
QUESTIONS: tuple[dict[str, Any], ...] = (
    {"messages": [{"role": "user", "content": "Hello!"}], "temperature": 0},
    {"messages": [{"role": "user", "content": "Tell me a story."}], "temperature": 1.0, "seed": 7, "n": 2},
    {"messages": [{"role": "user", "content": "Count."}], "logprobs": True, "top_logprobs": 3, "seed": 3, "top_p": 0.9},
)
RESTART_LIMIT = 900.0  # seconds
SLOW_MACHINE = {  # Ray reads these when it starts
    "RAY_worker_niceness": "0",  # by default its processes get little of a busy machine
    "RAY_agent_register_timeout_ms": "300000",
}
FORCED_DEVICES = "--xla_force_host_platform_device_count={}"


def answers(client: openai.OpenAI) -> list[Any]:
    """Returns the model's answers to the questions, without ids and times.

    Raises AssertionError if the text of an answer differs when it is streamed.
    """
    results: list[Any] = []
    for question in QUESTIONS:
        whole = client.chat.completions.create(model=MODEL, max_tokens=24, **question)
        results.append((whole.system_fingerprint, [choice.model_dump() for choice in whole.choices], whole.usage))
        chunks = client.chat.completions.create(model=MODEL, max_tokens=24, stream=True, **question)
        texts: dict[int, str] = {}
        for chunk in chunks:
            for choice in chunk.choices:
                texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
        assert texts == {choice.index: choice.message.content for choice in whole.choices}, (texts, whole)
    text = client.completions.create(model=MODEL, prompt="Once", max_tokens=8, seed=1, logprobs=2)
    return [*results, [choice.model_dump() for choice in text.choices]]


def plain_answers(processes: int) -> list[Any]:
    """Returns the answers of a plain server with one device for each of `processes`."""
    os.environ["XLA_FLAGS"] = FORCED_DEVICES.format(processes)
    try:
        with ServerProcess("--slots", str(SLOTS), "--tensor-parallel", str(processes)) as server:
            return answers(client_of(server.rest))
    finally:
        del os.environ["XLA_FLAGS"]


def client_of(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=120)


def refusal(client: openai.OpenAI) -> str:
    """Returns the error of a request with an invalid temperature; "none" if the request is accepted."""
    try:
        client.chat.completions.create(model=MODEL, temperature=9, messages=QUESTIONS[0]["messages"])
    except openai.APIStatusError as error:
        return f"{error.status_code} {error.message}"
    return "none"


def serve(processes: int, port: int) -> Any:
    """Starts a Ray cluster with `processes` + 1 nodes, and serves the model on it. Returns the cluster."""
    os.environ.update(SLOW_MACHINE)
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster
    from ray.serve.llm import LLMConfig, build_openai_app

    node = {"num_cpus": 1, "object_store_memory": 100 * 1024**2, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    for _ in range(processes):
        cluster.add_node(**node)
    ray.init(address=cluster.address, logging_level="warning")
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    config = LLMConfig(
        model_loading_config={"model_id": MODEL, "model_source": "bundled"},
        server_cls="serving.deploy.ray_llm.RayLLMServer",
        engine_kwargs={"slots": SLOTS, "processes": processes, "tensor_parallel": processes},
        deployment_config={"num_replicas": 1, "health_check_period_s": 2},
    )
    serve.run(build_openai_app({"llm_configs": [config], **ingress_options()}), name="jaxchat")
    return cluster


def ingress_options() -> dict[str, Any]:
    """Returns options that make Ray's ingress small. Returns {} with direct streaming, which has no ingress."""
    if os.environ.get("RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING") == "1":
        return {}
    return {"ingress_deployment_config": {"num_replicas": 1, "ray_actor_options": {"num_cpus": 0}}}


def killed(name: str) -> int:
    """Kills the process of Ray with that name in its title. Returns its process id."""
    titles = [(each, " ".join(each.info["cmdline"] or [])) for each in psutil.process_iter(["cmdline"])]
    (victim,) = [each for each, title in titles if title.startswith("ray::") and name in title]
    victim.send_signal(signal.SIGKILL)
    return int(victim.pid)


def until_answered(client: openai.OpenAI) -> tuple[list[Any], float]:
    """Asks until the model answers everything. Returns the answers, and the seconds that passed."""
    start = time.monotonic()
    while True:
        try:
            return answers(client), time.monotonic() - start
        except openai.APIError as error:
            if time.monotonic() - start > RESTART_LIMIT:
                raise
            print(f"  after {time.monotonic() - start:.1f} s: {type(error).__name__}", flush=True)
            time.sleep(1)


def main() -> int:
    """Runs the command line. Returns 0 if all answers were equal, otherwise 1."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--processes", type=int, default=1, help="processes of the model")
    processes = parser.parse_args().processes
    expected = plain_answers(processes)
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    start = time.monotonic()
    cluster = serve(processes, port)
    print(f"{processes} processes: ready after {time.monotonic() - start:.1f} s", flush=True)
    client, equal = client_of(f"http://127.0.0.1:{port}/v1"), []
    try:
        equal.append(answers(client) == expected)
        print(f"answers equal to a plain server's: {equal[-1]}; refused: {refusal(client)}", flush=True)
        for name in ("Follower", "RayLLMServer")[processes == 1 :]:
            print(f"killed {name} ({killed(name)})", flush=True)
            again, seconds = until_answered(client)
            equal.append(again == expected)
            print(f"answers again after {seconds:.1f} s, equal: {equal[-1]}", flush=True)
    finally:
        import ray
        from ray import serve as ray_serve

        ray_serve.shutdown()
        ray.shutdown()
        cluster.shutdown()
    return 0 if all(equal) else 1


if __name__ == "__main__":
    sys.exit(main())
