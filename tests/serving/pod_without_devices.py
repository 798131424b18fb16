"""The command `jaxchat` with a session that has no model: leaders and followers that do everything but compute."""

from __future__ import annotations

import sys
from collections import deque
from typing import Any

from jaxchat import api, membership
from jaxchat.config import EngineConfig
from jaxchat.types import PodFollower, PodLeader
from serving.cli.main import main
from tests.serving.fake_session import FakeSession


class Session(FakeSession):
    def fail(self) -> None:
        super().fail()
        self.ready = False


def load_session(model: str, engine: EngineConfig, report: Any, chat: Any, pod: PodLeader) -> Session:
    pod.agree({"weights": model})
    pod.watch(lambda: 0.0)
    return Session()


def follow(model: str, engine: EngineConfig, pod: PodFollower, report: Any) -> None:
    pod.agree({"weights": model})
    deque(pod.steps(), maxlen=0)


def pod_facts(model: str, engine: EngineConfig) -> dict[str, str]:
    return {"slots": str(engine.slots)}


if __name__ == "__main__":
    api.load_session, membership.follow = load_session, follow  # type: ignore[assignment]
    membership.leave_pod, membership.pod_facts = lambda: None, pod_facts  # type: ignore[assignment]
    sys.exit(main())
