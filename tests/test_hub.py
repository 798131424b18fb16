"""Models of the hub that cannot be downloaded: the error is one line that says why."""

from __future__ import annotations

import sys

import pytest
from huggingface_hub import errors

from jaxchat.errors import ModelError
from jaxchat.hub import download


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            errors.LocalEntryNotFoundError("Cannot find ...\nPlease check"),
            "the hub cannot be reached, and the model is",
        ),
        (errors.OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE is set, and the model is not in the hub's cache here"),
        (errors.HFValidationError("Repo id must be"), "not a name that the hub could have"),
        (OSError("disk\nfull"), "disk"),
        (OSError(), "OSError"),
    ],
)
def test_the_reason_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    def fail(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(ModelError, match=f"^a/b: no such directory, and the hub did not provide it: {message}") as got:
        download("a/b")
    assert "\n" not in str(got.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match=r"^a/b: fetching from the hub needs `pip install 'jaxchat\[hub\]'`$"):
        download("a/b")
