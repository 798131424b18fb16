"""The command `jaxchat` with leaders and followers that have no model: they do everything except compute."""

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


def load_session(
    model: str, engine: EngineConfig, report: Any, chat: Any, multihost: MultihostLeader, **options: Any
) -> Session:
    multihost.agree({"weights": model})
    multihost.watch(lambda: 0.0)
    return Session()


def follow(model: str, engine: EngineConfig, multihost: MultihostFollower, report: Any) -> None:
    multihost.agree({"weights": model})
    deque(multihost.steps(), maxlen=0)


def multihost_facts(model: str, engine: EngineConfig) -> dict[str, str]:
    return {"slots": str(engine.slots)}


if __name__ == "__main__":
    api.load_session, follower.run_follower = load_session, follow  # type: ignore[assignment]
    follower.leave_multihost, follower.multihost_facts = lambda: None, multihost_facts  # type: ignore[assignment]
    sys.exit(main())
