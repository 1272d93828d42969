"""Tables: what their columns become, that training rows alone teach it, and which tables are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import kerasmlp
from kerasmlp import build_mlp, data_from_frame, load_data
from kerasmlp.cli import main
from kerasmlp.data.columns import Column, column_kinds
from kerasmlp.data.encoding import Encoder
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue


def frame(rows: int = 200) -> pd.DataFrame:
    """Flowers that their size, colour and thorns tell apart; some lack a size."""
    generator = np.random.default_rng(0)
    kind = generator.choice(["lily", "rose"], rows)
    is_rose = kind == "rose"
    size = np.where(is_rose, 5.0, 9.0) + generator.normal(0, 1, rows)
    size[::17] = np.nan
    colour = np.where(is_rose, generator.choice(["red", "white"], rows), generator.choice(["white", "orange"], rows))
    return pd.DataFrame({"size": size, "colour": colour, "has thorns": is_rose, "petals": 6, "kind": kind})


def write(path: Path, table: pd.DataFrame) -> Path:
    """The table as CSV or Parquet, by the name."""
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_is_read_and_encoded_column_by_column(tmp_path: Path, suffix: str) -> None:
    data = load_data(write(tmp_path / f"flowers{suffix}", frame()), target="kind", test_share=0.2)
    assert (data.name, data.class_names) == ("flowers", ("lily", "rose"))
    assert data.encoder is not None
    assert data.encoder.feature_names == (
        "size",
        "size is missing",
        "colour=orange",
        "colour=red",
        "colour=white",
        "has thorns",
        "petals",
    )
    assert data.train.features.dtype == np.float32
    assert data.feature_shape == (7,)
    assert (data.train.features[:, 2:5].sum(axis=1) == 1).all()
    assert data.request is not None
    assert load_data(**data.request).fingerprint == data.fingerprint


def test_csv_parquet_and_frame_are_the_same_data(tmp_path: Path) -> None:
    from_frame = data_from_frame(frame(), "kind", test_share=0.2)
    for suffix in (".csv", ".parquet"):
        from_file = load_data(write(tmp_path / f"flowers{suffix}", frame()), target="kind", test_share=0.2)
        np.testing.assert_allclose(from_file.train.features, from_frame.train.features, rtol=1e-6)  # text of floats
        np.testing.assert_array_equal(from_file.train.labels, from_frame.train.labels)


def test_rows_that_are_not_trained_on_teach_the_encoder_nothing() -> None:
    table = frame()
    before = data_from_frame(table, "kind", test_share=0.2)
    assert before.encoder is not None
    probe = table.assign(number=np.arange(len(table)))
    trained = data_from_frame(probe[["number", "kind"]], "kind", test_share=0.2).train.features[:, 0].astype(int)
    others = np.setdiff1d(np.arange(len(table)), trained)
    changed = table.copy()
    changed.loc[others, "size"] = 1e6
    changed.loc[others, "colour"] = "ultraviolet"
    after = data_from_frame(changed, "kind", test_share=0.2)
    assert after.encoder == before.encoder
    np.testing.assert_array_equal(after.train.features, before.train.features)
    assert (after.test.features[:, 2:5] == 0).all()  # an unseen category is none of those that are known


def test_missing_values_follow_the_stated_rule() -> None:
    columns = (
        Column("size", "number", fill=3.0, has_missing=True),
        Column("is new", "boolean", fill=0.5),
        Column("colour", "category", categories=("", "red")),
    )
    raw = pd.DataFrame({"colour": ["red", None, "blue"], "is new": [True, None, "no"], "size": [1.5, None, 2.0]})
    encoded = Encoder(columns).encode(raw, source="raw")
    np.testing.assert_array_equal(encoded, [[1.5, 0, 1, 0, 1], [3.0, 1, 0.5, 1, 0], [2.0, 0, 0, 0, 0]])
    assert Encoder.from_config(json.loads(json.dumps(Encoder(columns).to_config()))) == Encoder(columns)


def test_numbers_are_standardised_in_the_network_and_nothing_else_is() -> None:
    data = data_from_frame(frame(), "kind", test_share=0.2)
    scaled = np.asarray(data.preprocessing()(data.train.features))
    assert abs(scaled[:, 0].mean()) < 1e-4  # float32
    assert abs(scaled[:, 0].std() - 1) < 1e-3
    np.testing.assert_array_equal(scaled[:, 1:6], data.train.features[:, 1:6])
    np.testing.assert_array_equal(scaled[:, 6], 0)  # always six petals


def test_kinds_of_columns_are_told_apart() -> None:
    table = pd.DataFrame(
        {
            "a": [1, 2, 3],
            "b": [True, False, True],
            "c": ["yes", "no", None],
            "d": ["x", "y", "z"],
            "e": [0.5, None, 2],
            "f": ["True", "false", "true"],
        }
    )
    assert column_kinds(table) == {
        "a": "number",
        "b": "boolean",
        "c": "boolean",
        "d": "category",
        "e": "number",
        "f": "boolean",
    }


def test_a_network_of_a_table_is_trained_evaluated_and_asked_by_raw_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("flowers.csv"), frame(400))
    table = ["flowers.csv", "--target", "kind", "--test-share", "0.2"]
    train = ["--hidden", "8", "--epochs", "12", "--learning-rate", "0.02", "--out", "run", "--json"]
    assert main(["train", *table, *train]) == 0
    trained = json.loads(capfd.readouterr().out)
    assert trained["sizes"] == [7, 8, 2]
    assert trained["test_accuracy"] > 0.95
    assert main(["export", "run", "--tflite", "mobile", "--json"]) == 0
    capfd.readouterr()
    # Rows without labels, in another order, with a colour that was never seen.
    rows = pd.DataFrame({"petals": [6, 6], "has thorns": [True, False], "colour": ["red", "mauve"], "size": [5.0, 9.0]})
    write(Path("new.csv"), rows)
    for artefact in ("run", "mobile/flowers_float32.tflite"):
        assert main(["evaluate", artefact, *table, "--json"]) == 0
        assert json.loads(capfd.readouterr().out)["accuracy"] == trained["test_accuracy"]
        assert main(["predict", artefact, "new.csv", "--json"]) == 0
        answers = json.loads(capfd.readouterr().out)["predictions"]
        assert [answer["class"] for answer in answers] == ["rose", "lily"]
    # Other rows of the same table are encoded as the network's training rows were.
    write(Path("other.csv"), frame(400).iloc[::-1].assign(colour="white"))
    assert main(["evaluate", "run", "other.csv", "--target", "kind", "--test-share", "0.5", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["examples"] == 200
    # Without a share, all rows are judged, unless the network was trained on some.
    assert main(["evaluate", "run", "other.csv", "--target", "kind", "--json"]) == 0
    evaluated = json.loads(capfd.readouterr().out)
    assert (evaluated["examples"], evaluated["same_data"]) == (400, False)
    # Of what it was trained on, the test of that training, and nothing else.
    assert main(["evaluate", "run", "flowers.csv", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["same_data"] is True
    for option, value in (("--test-share", "0.4"), ("--group", "colour")):
        assert main(["evaluate", "run", "flowers.csv", option, value]) == 2
        assert f"`{option} {value}` would judge it by examples that it knows" in capfd.readouterr().err
    assert main(["info", "mobile/flowers_float32.tflite"]) == 0
    shown = capfd.readouterr().out
    assert "size is missing" in shown
    assert "probabilities, float32 (1, 2)" in shown
    Path("none.csv").write_text("size,colour,has thorns,petals\n")
    assert main(["predict", "run", "none.csv"]) == 2
    assert "`none.csv` has no row" in capfd.readouterr().err


def test_a_target_that_was_found_by_its_name_may_be_named_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("f.csv"), frame().rename(columns={"kind": "label"}))
    assert main(["train", "f.csv", "--test-share", "0.2", "--hidden", "4", "--epochs", "1", "--out", "run"]) == 0
    for options in ([], ["--target", "label"], ["--test-share", "0.2"]):
        capfd.readouterr()
        assert main(["evaluate", "run", "f.csv", *options, "--json"]) == 0
        evaluated = json.loads(capfd.readouterr().out)
        assert (evaluated["examples"], evaluated["same_data"]) == (40, True)


def test_a_run_of_a_frame_does_not_say_what_its_test_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = data_from_frame(frame(), "kind", test_share=0.2)
    model = build_mlp([7, 4, 2], preprocessing=data.preprocessing(), seed=0)
    kerasmlp.train(model, data, epochs=1, out=tmp_path / "run")
    path = write(tmp_path / "frame.csv", frame())
    assert main(["evaluate", str(tmp_path / "run"), str(path), "--target", "kind"]) == 2
    assert "does not say which; judge it by data that it has not seen" in capfd.readouterr().err


def test_other_tables_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1 and no more")
    with pytest.raises(InvalidValue, match=r"damaged\.parquet` cannot be read as a Parquet file"):
        load_data(damaged, target="y", test_share=0.2)
    with pytest.raises(InvalidValue, match="flowers.*`test_share=0.15`"):
        load_data(write(tmp_path / "flowers.csv", frame()), target="kind")
    with pytest.raises(InvalidValue, match="`target` names a column of a table"):
        load_data("digits", target="y")
    keys = pd.DataFrame({"key": [f"k{i}" for i in range(3000)], "y": ["a", "b"] * 1500})
    with pytest.raises(InvalidValue, match="more likely a name or a key than a category"):
        data_from_frame(keys, "y", test_share=0.2)
    with pytest.raises(InvalidValue, match="row 2: the column `is new` needs true or false; got `maybe`"):
        Encoder((Column("is new", "boolean"),)).encode(pd.DataFrame({"is new": ["yes", "maybe"]}), source="t")
    with pytest.raises(InvalidValue, match="needs a column `is new`, as the training rows had. Did you mean `is_new`"):
        Encoder((Column("is new", "boolean"),)).encode(pd.DataFrame({"is_new": [True]}), source="t")


def test_a_table_is_a_run_like_any_other(tmp_path: Path) -> None:
    data = data_from_frame(frame(), "kind", test_share=0.2)
    assert isinstance(data, Data)
    model = build_mlp([7, 4, 2], preprocessing=data.preprocessing(), seed=0)
    run = kerasmlp.train(model, data, epochs=1, out=tmp_path / "run")
    assert run.card.encoder == data.encoder
