"""The calibration error: known cases, and the bundled model."""

from __future__ import annotations

import numpy as np
import pytest

import jaxchat.bundled
from tools.training import data
from tools.training.calibration import Scorer, expected_calibration_error


def test_a_model_that_is_as_often_right_as_it_says_has_no_error() -> None:
    confidence = np.full(100, 0.75, np.float32)
    assert expected_calibration_error(confidence, np.arange(100) < 75) == pytest.approx(0, abs=1e-6)
    assert expected_calibration_error(confidence, np.arange(100) < 25) == pytest.approx(0.5, abs=1e-6)


def test_the_error_is_weighted_by_tokens() -> None:
    confidence = np.array([0.5] * 30 + [1.0] * 10, np.float32)
    hit = np.array([True] * 15 + [False] * 25)
    assert expected_calibration_error(confidence, hit) == pytest.approx(0.25, abs=1e-6)


def test_the_bundled_model_says_how_sure_it_is() -> None:
    """Its choices among equally likely answers have the probabilities that they come with."""
    scorer = Scorer(jaxchat.bundled.path())
    said, confidence, hit = scorer.score(data.held_out(4, "open", 60))
    assert expected_calibration_error(confidence, hit) < 0.08
    assert 0.2 < -said.mean() < 1.5
