"""The command `jaxchat` with a session that has no model: leaders and followers that do everything but compute."""

from __future__ import annotations

import sys
from collections import deque
from typing import Any

from jaxchat import api
from jaxchat.config import EngineConfig
from jaxchat.multihost import follower
from jaxchat.types import MultihostFollower, MultihostLeader
from serving.cli.main import main
from tests.serving.fake_session import FakeSession


class Session(FakeSession):
    def fail(self) -> None:
        super().fail()
        self.ready = False


def load_session(model: str, engine: EngineConfig, report: Any, chat: Any, pod: MultihostLeader) -> Session:
    pod.agree({"weights": model})
    pod.watch(lambda: 0.0)
    return Session()


def follow(model: str, engine: EngineConfig, pod: MultihostFollower, report: Any) -> None:
    pod.agree({"weights": model})
    deque(pod.steps(), maxlen=0)


def pod_facts(model: str, engine: EngineConfig) -> dict[str, str]:
    return {"slots": str(engine.slots)}


if __name__ == "__main__":
    api.load_session, follower.run_follower = load_session, follow  # type: ignore[assignment]
    follower.leave_pod, follower.pod_facts = lambda: None, pod_facts  # type: ignore[assignment]
    sys.exit(main())
