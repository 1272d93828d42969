"""Tables: the features that columns become, which only training rows decide, and tables that are refused."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import kerasmlp
from kerasmlp import build_mlp, data_from_frame, load_data
from kerasmlp.cli import main
from kerasmlp.data.column_kinds import ColumnEvidence
from kerasmlp.data.columns import Column
from kerasmlp.data.raw_rows import FrameRows
from kerasmlp.data.table_encoding import Encoder
from kerasmlp.errors import InvalidValue
from tests.helpers.tables import frame, write


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_columns_of_a_file_become_features(tmp_path: Path, suffix: str) -> None:
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


def test_csv_parquet_and_frame_give_the_same_data(tmp_path: Path) -> None:
    from_frame = data_from_frame(frame(), "kind", test_share=0.2)
    for suffix in (".csv", ".parquet"):
        from_file = load_data(write(tmp_path / f"flowers{suffix}", frame()), target="kind", test_share=0.2)
        assert (from_file.fingerprint, from_file.encoder) == (from_frame.fingerprint, from_frame.encoder)
        for part in ("train", "validation", "test"):
            one, other = getattr(from_file, part), getattr(from_frame, part)
            np.testing.assert_array_equal(one.features, other.features)
            np.testing.assert_array_equal(one.labels, other.labels)


def test_the_encoder_is_learnt_from_training_rows_only(tmp_path: Path) -> None:
    table = frame().assign(colour=[f"shade {i // 2}" for i in range(200)])  # some shades are in test rows only
    data = data_from_frame(table, "kind", test_share=0.2)
    assert data.encoder is not None
    assert data.encoder.columns[0].fill == pytest.approx(np.median(data.train.features[:, 0]), rel=1e-6)  # float32
    shades = [name.startswith("colour=") for name in data.encoder.feature_names]
    assert data.train.features[:, shades].any(axis=0).all()
    assert (data.test.features[:, shades].sum(axis=1) == 0).any()  # an unseen category encodes as all zeros
    # Tests and validations in files of their own may hold anything that the columns can hold.
    train = write(tmp_path / "train.csv", frame())
    changed = frame(40).assign(size=1e6, colour="ultraviolet")
    for part in ("validation", "test"):
        own = write(tmp_path / "own.csv", frame(40))
        before = load_data(train, target="kind", **{part: own})  # type: ignore[arg-type]
        after = load_data(train, target="kind", **{part: write(tmp_path / "own.csv", changed)})  # type: ignore[arg-type]
        assert after.encoder == before.encoder
        np.testing.assert_array_equal(after.train.features, before.train.features)
        assert (getattr(after, part).features[:, 2:5] == 0).all()


def test_missing_values_become_median_half_or_a_category() -> None:
    columns = (
        Column("size", "number", fill=3.0, has_missing=True),
        Column("is new", "boolean", fill=0.5),
        Column("colour", "category", categories=("", "red")),
    )
    raw = pd.DataFrame({"colour": ["red", None, "blue"], "is new": [True, None, "no"], "size": [1.5, None, 2.0]})
    encoded = Encoder(columns).encode(raw, source="raw")
    np.testing.assert_array_equal(encoded, [[1.5, 0, 1, 0, 1], [3.0, 1, 0.5, 1, 0], [2.0, 0, 0, 0, 0]])
    assert Encoder.from_config(json.loads(json.dumps(Encoder(columns).to_config()))) == Encoder(columns)


def test_preprocessing_standardises_numbers_only() -> None:
    data = data_from_frame(frame(), "kind", test_share=0.2)
    scaled = np.asarray(data.preprocessing("plain")(data.train.features))
    assert abs(scaled[:, 0].mean()) < 1e-4  # float32
    assert abs(scaled[:, 0].std() - 1) < 1e-3
    np.testing.assert_array_equal(scaled[:, 1:6], data.train.features[:, 1:6])
    np.testing.assert_array_equal(scaled[:, 6], 0)  # constant, so only shifted


def test_column_kinds_are_found_from_types_and_words() -> None:
    table = pd.DataFrame(
        {
            "a": [1, 2, 3],
            "b": [True, False, True],
            "c": ["yes", "no", None],
            "d": ["x", "y", "z"],
            "e": [0.5, None, 2],
            "f": ["True", "false", "true"],
            "g": [None, None, None],
        }
    )
    evidence = {name: ColumnEvidence(name) for name in table}
    for piece in FrameRows(table).pieces():
        for name, one in evidence.items():
            one.add(piece.column(name).combine_chunks())
    assert {name: one.column("t").kind for name, one in evidence.items()} == {
        "a": "number",
        "b": "boolean",
        "c": "boolean",
        "d": "category",
        "e": "number",
        "f": "boolean",
        "g": "empty",
    }


def test_a_network_for_a_table_is_trained_evaluated_and_asked_with_raw_rows(
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
    # The rows have no labels, another order of columns, and an unseen colour.
    rows = pd.DataFrame({"petals": [6, 6], "has thorns": [True, False], "colour": ["red", "mauve"], "size": [5.0, 9.0]})
    write(Path("new.csv"), rows)
    for artefact in ("run", "mobile/flowers_float32.tflite"):
        assert main(["evaluate", artefact, *table, "--json"]) == 0
        assert json.loads(capfd.readouterr().out)["accuracy"] == trained["test_accuracy"]
        assert main(["predict", artefact, "new.csv", "--json"]) == 0
        answers = json.loads(capfd.readouterr().out)["predictions"]
        assert [answer["class"] for answer in answers] == ["rose", "lily"]
    # Other tables are encoded in the way that the training rows of the network decided.
    write(Path("other.csv"), frame(400).iloc[::-1].assign(colour="white"))
    assert main(["evaluate", "run", "other.csv", "--target", "kind", "--test-share", "0.5", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["examples"] == 200
    # Without `--test-share` all rows are judged, because the network was not trained on any of them.
    assert main(["evaluate", "run", "other.csv", "--target", "kind", "--json"]) == 0
    evaluated = json.loads(capfd.readouterr().out)
    assert (evaluated["examples"], evaluated["same_data"]) == (400, False)
    # The class that is hardest to find is one of those that occur.
    roses = frame(400).query("kind == 'rose'")
    write(Path("roses.csv"), roses)
    assert main(["evaluate", "run", "roses.csv", "--target", "kind"]) == 0
    shown = capfd.readouterr().out
    assert "rose (" in shown
    assert "lily (" not in shown
    # For the table that it was trained on, only the test rows of that training are judged.
    assert main(["evaluate", "run", "flowers.csv", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["same_data"] is True
    for option, value in (("--test-share", "0.4"), ("--group", "colour")):
        assert main(["evaluate", "run", "flowers.csv", option, value]) == 2
        assert f"`{option} {value}`" in capfd.readouterr().err
    assert main(["info", "mobile/flowers_float32.tflite"]) == 0
    shown = capfd.readouterr().out
    assert re.search(r"size +number +2 features", shown)
    assert "probabilities, float32 (1, 2)" in shown
    Path("none.csv").write_text("size,colour,has thorns,petals\n")
    assert main(["predict", "run", "none.csv"]) == 2
    assert "`none.csv`" in capfd.readouterr().err


def test_a_target_found_by_its_name_may_be_given_explicitly_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("f.csv"), frame().rename(columns={"kind": "label"}))
    assert main(["train", "f.csv", "--hidden", "4", "--epochs", "1", "--out", "run"]) == 0
    assert "`--test-share 0.2`" in capfd.readouterr().err  # what was decided for the user
    for options in ([], ["--target", "label"], ["--test-share", "0.2"]):
        capfd.readouterr()
        assert main(["evaluate", "run", "f.csv", *options, "--json"]) == 0
        evaluated = json.loads(capfd.readouterr().out)
        assert (evaluated["examples"], evaluated["same_data"]) == (40, True)


def test_a_run_from_a_frame_is_not_judged_by_the_same_rows(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = data_from_frame(frame(), "kind", test_share=0.2)
    model = build_mlp([7, 4, 2], preprocessing=data.preprocessing(), seed=0)
    kerasmlp.train(model, data, epochs=1, out=tmp_path / "run")
    path = write(tmp_path / "frame.csv", frame())
    assert main(["evaluate", str(tmp_path / "run"), str(path), "--target", "kind"]) == 2
    assert "frame.csv" in capfd.readouterr().err


def test_tables_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1 and no more")
    with pytest.raises(InvalidValue, match=r"damaged\.parquet.*Parquet"):
        load_data(damaged, target="y", test_share=0.2)
    with pytest.raises(InvalidValue, match="`target`.*`digits`.*tables"):
        load_data("digits", target="y")
    keys = pd.DataFrame({"key": [f"k{i}" for i in range(3000)], "y": ["a", "b"] * 1500})
    with pytest.raises(InvalidValue, match=r"`frame`.*feature.*`key` \(key\).*`columns="):
        data_from_frame(keys, "y", test_share=0.2)
    with pytest.raises(InvalidValue, match="`frame`.*`key`.*1,000"):
        data_from_frame(keys, "y", test_share=0.2, columns={"key": "category"})
    with pytest.raises(InvalidValue, match="`t`, row 2.*`is new`.*`maybe`"):
        Encoder((Column("is new", "boolean"),)).encode(pd.DataFrame({"is new": ["yes", "maybe"]}), source="t")
    with pytest.raises(InvalidValue, match="`t`.*`is new`.*`is_new`"):
        Encoder((Column("is new", "boolean"),)).encode(pd.DataFrame({"is_new": [True]}), source="t")


def test_a_run_keeps_the_encoder_of_its_table(tmp_path: Path) -> None:
    data = data_from_frame(frame(), "kind", test_share=0.2)
    model = build_mlp([7, 4, 2], preprocessing=data.preprocessing(), seed=0)
    run = kerasmlp.train(model, data, epochs=1, out=tmp_path / "run")
    assert run.card.encoder == data.encoder


def test_a_frame_may_have_blanks_around_its_names_as_a_file_may(tmp_path: Path) -> None:
    plain, blank = frame(), frame().rename(columns={"size": " size", "kind": "kind "})
    data = data_from_frame(plain, "kind", drop=["colour"])
    from_blank = data_from_frame(blank, "kind ", drop=["colour "])
    assert (from_blank.fingerprint, from_blank.encoder) == (data.fingerprint, data.encoder)
    assert data.encoder is not None
    np.testing.assert_array_equal(data.encoder.encode(blank, source="b"), data.encoder.encode(plain, source="p"))


def test_two_columns_of_a_frame_with_equal_names_are_refused() -> None:
    data = data_from_frame(frame(), "kind")
    assert data.encoder is not None
    with pytest.raises(InvalidValue, match="two columns called `size`"):
        data.encoder.encode(pd.concat([frame(), frame()[["size"]]], axis=1), source="frame")


def test_values_that_arrow_has_no_plain_type_for_are_read_as_texts(tmp_path: Path) -> None:
    months = pd.period_range("2020-01", periods=200, freq="M")
    table = frame().assign(
        month=months,
        part=pd.cut(range(200), 3),
        key=[uuid.UUID(int=i) for i in range(200)],
        long=[10**25 * (i % 7) for i in range(200)],
        raw=[b"a", b"\xff"] * 100,
    )
    data = data_from_frame(table, "kind")
    assert data.encoder is not None
    kinds = {column.name: column.kind for column in data.encoder.columns}
    assert kinds | {"month": "date", "part": "category", "key": "key", "long": "number", "raw": "category"} == kinds
    table[["month", "size", "kind"]].to_parquet(tmp_path / "periods.parquet")
    from_file = load_data(tmp_path / "periods.parquet", target="kind")
    assert from_file.fingerprint == data_from_frame(table[["month", "size", "kind"]], "kind").fingerprint


def test_a_day_as_a_category_has_the_same_name_in_every_file(tmp_path: Path) -> None:
    table = frame().assign(day=pd.to_datetime(["2024-01-01", "2024-02-03"] * 100))
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_parquet(tmp_path / "a.parquet")
    ends = (".csv", ".parquet")
    csv, parquet = (load_data(tmp_path / f"a{end}", target="kind", columns={"day": "category"}) for end in ends)
    assert csv.encoder == parquet.encoder


def test_an_infinite_number_in_a_parquet_file_is_named_with_the_file_and_its_row(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", frame().assign(size=[1.5] * 150 + [np.inf] + [2.5] * 49))
    with pytest.raises(InvalidValue, match="`a`, row 151: the column `size`"):
        load_data(tmp_path / "a.parquet", target="kind")


def test_a_word_among_the_labels_of_the_test_is_named_where_training_has_numbers() -> None:
    rows = frame().assign(kind=[0, 1] * 100)
    with pytest.raises(InvalidValue, match="label `true` occurs in test"):
        data_from_frame(rows, "kind", test=rows.head(4).assign(kind=["true", "0", "1", "0"]))
