"""Searches with products in bfloat16: what is trained with them, what they identify, and where they are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kerasmlp.data.types import Data
from kerasmlp.engine import bfloat16
from kerasmlp.engine.bfloat16 import bfloat16_unit
from kerasmlp.errors import InvalidValue, KerasMLPWarning, OutputExists
from kerasmlp.tuning import SearchSettings, Space, join_search, search
from kerasmlp.tuning.running_trials import TrialTrainer
from kerasmlp.tuning.worker_request import WorkerRequest
from tests.helpers.searches import SPACE, read_trials, results

SIZES = (64, 16, 10)
needs_unit = pytest.mark.skipif(bfloat16_unit() is None, reason="the processor has neither AMX nor AVX512-BF16")


def request_of(data: Data, settings: SearchSettings) -> WorkerRequest:
    """Returns what the workers of a search are told."""
    settings = settings.for_data(data)
    return WorkerRequest.of([data], settings.network(SIZES), settings)


@needs_unit
def test_trials_and_the_final_training_have_the_precision_of_the_search(digits: Data, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "sizes": SIZES,
        "trials": 2,
        "epochs": 2,
        "final_epochs": 1,
        "space": SPACE,
        "early_stopping": False,
    }
    too_short = "too short.*`precision=bfloat16`.*slower"
    with pytest.warns(KerasMLPWarning, match=too_short):
        run = search(digits, **options, precision="bfloat16", out=tmp_path / "a")
    assert run.config["search"]["precision"] == run.metrics["precision"] == "bfloat16"
    with pytest.raises(OutputExists, match="another run.*precision: bfloat16 there, not set here"):
        search(digits, **options, out=tmp_path / "a")
    with pytest.warns(KerasMLPWarning, match=too_short):
        run = search(digits, **{**options, "trials": 3}, precision="bfloat16", out=tmp_path / "a")
    rounded = results(read_trials(run.path))
    exact = results(read_trials(search(digits, **options, out=tmp_path / "b").path))
    assert [trial[1] for trial in rounded[:2]] == [trial[1] for trial in exact]
    assert [trial[3] for trial in rounded[:2]] != [trial[3] for trial in exact]


@needs_unit
def test_the_precision_identifies_a_search_and_float32_is_that_of_earlier_versions(digits: Data) -> None:
    exact, rounded = SearchSettings(), SearchSettings(precision="bfloat16")
    request = request_of(digits, rounded)
    assert WorkerRequest.from_json(request.to_json()) == request
    assert TrialTrainer.of([digits], request).precision == "bfloat16"
    assert request.digest != request_of(digits, exact).digest
    assert request_of(digits, replace(exact, precision="float32")) == request_of(digits, exact)
    assert "precision" not in exact.for_data(digits).to_config(SIZES)
    assert rounded.for_data(digits).to_config(SIZES)["precision"] == "bfloat16"


def test_a_search_is_refused_where_products_in_bfloat16_would_be_slower(
    digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"sizes": SIZES, "precision": "bfloat16"}
    with pytest.raises(InvalidValue, match="`quantize_aware=int8`.*`precision=bfloat16`"):
        SearchSettings(precision="bfloat16", final_options={"quantize_aware": "int8"})
    monkeypatch.setattr(bfloat16, "bfloat16_unit", lambda: "AMX")
    with pytest.raises(InvalidValue, match="`precision=bfloat16`.*`batch_size=4`"):
        search(digits, **options, space=Space(batch_size=(4, 32)), out=tmp_path / "run")
    monkeypatch.setattr(bfloat16, "bfloat16_unit", lambda: None)
    with pytest.raises(InvalidValue, match="`precision=bfloat16`.*slower.*AMX"):
        search(digits, **options, out=tmp_path / "run")
    with pytest.raises(InvalidValue, match="`precision=bfloat16`.*slower.*AMX"):
        join_search("127.0.0.1:1", digits, **options)
    assert not (tmp_path / "run").exists()


@needs_unit
@pytest.mark.parametrize(
    ("sizes", "options", "reason"),
    [
        (SIZES, {"epochs": 2}, "too short"),
        (SIZES, {"epochs": 100}, None),
        (SIZES, {"epochs": 30, "space": {"batch_size": (128,), "units": (16, 32)}}, "too short"),
        (SIZES, {"epochs": 30, "space": {"batch_size": (128,), "units": (16, 8000)}}, None),
        (SIZES, {"epochs": 200, "space": {"batch_size": (8, 12)}}, "12 examples per step"),
        ((64, 4, 10), {"epochs": 100}, "310 weights"),
        ((64, 4, 10), {"epochs": 100, "members": 2}, None),
    ],
)
def test_a_search_says_why_no_trial_gains_from_bfloat16(
    digits: Data, sizes: tuple[int, ...], options: dict[str, object], reason: str | None
) -> None:
    settings = SearchSettings.of(SearchSettings(precision="bfloat16"), options).for_data(digits)
    request = WorkerRequest.of([digits], settings.network(sizes), settings)
    notes = request.notes([digits], settings.whole_space)
    assert [(reason or "") in note for note in notes] == [True] * (reason is not None)
    assert not replace(request, precision="float32").notes([digits], settings.whole_space)
