"""ONNX files of others and damaged ones: answered, or refused in one sentence, by `info` also without ONNX Runtime."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import kerasmlp
from kerasmlp import open_artefact
from kerasmlp.artefacts.onnx_contents import read_onnx_contents
from kerasmlp.cli import main
from kerasmlp.cli.artefact_facts import facts_of_opened, read_facts
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue
from kerasmlp.export import export_onnx
from kerasmlp.run import Run
from tests.helpers.damaged_files import damage


@pytest.fixture(scope="module")
def exported(digits_run: Run, digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(export_onnx(digits_run, tmp_path_factory.mktemp("onnx"), data=digits).path)


def foreign(path: Path, change: Callable[[Any], Any]) -> Path:
    """Writes a network of one product without a card, changed by `change`."""
    kernel = onnx.numpy_helper.from_array(np.eye(3, 2, dtype=np.float32), "kernel")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "kernel"], ["z"]), helper.make_node("Softmax", ["z"], ["probabilities"])],
        "foreign",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])],
        [kernel],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    change(model)
    onnx.save(model, path)
    return path


def test_a_network_of_others_with_the_same_names_is_computed(tmp_path: Path) -> None:
    path = foreign(tmp_path / "foreign.onnx", lambda model: None)
    artefact = open_artefact(path)
    assert (artefact.format, artefact.precision, artefact.feature_shape) == ("onnx", "float32", (3,))
    assert (artefact.card, artefact.class_names) == (None, ("0", "1"))
    answers = artefact.probabilities(np.array([[0, 0, 5], [9, 0, 0]]))
    np.testing.assert_allclose(answers, np.array([[0.5, 0.5], [1, 0]]), atol=2e-4)


def _listing_weights(model: Any) -> None:
    model.graph.input.append(helper.make_tensor_value_info("kernel", TensorProto.FLOAT, [3, 2]))


def test_a_file_that_lists_its_weights_among_the_inputs_is_read(tmp_path: Path) -> None:
    path = foreign(tmp_path / "old.onnx", _listing_weights)
    assert [value.name for value in read_onnx_contents(path.read_bytes()).inputs] == ["x"]
    assert open_artefact(path).probabilities(np.ones((2, 3))).shape == (2, 2)


def _input(model: Any) -> Any:
    return model.graph.input[0].type.tensor_type


def _set_batch(model: Any) -> None:
    _input(model).shape.dim[0].dim_value = 1


def _set_any_width(model: Any) -> None:
    _input(model).shape.dim[1].dim_param = "width"


def _set_doubles(model: Any) -> None:
    _input(model).elem_type = TensorProto.DOUBLE


def _rename_output(model: Any) -> None:
    model.graph.node[1].output[0] = model.graph.output[0].name = "logits"


def _add_input(model: Any) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", 3]))


def _add_wrong_card(model: Any) -> None:
    helper.set_model_props(model, {"card.json": '{"dataset": "d"}'})


def _drop_nodes(model: Any) -> None:
    del model.graph.node[:]


def _unknown_operation(model: Any) -> None:
    model.graph.node[0].op_type = "Nonsense"


def _quantiles(model: Any) -> None:
    model.graph.node[1].output[0] = model.graph.output[0].name = "quantiles"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set_batch, r"takes x, float32 \(1, 3\); expected"),
        (_set_any_width, r"takes x, float32 \(any, any\); expected"),
        (_set_doubles, r"takes x, float64 \(any, 3\); expected"),
        (_add_input, r"takes x, float32.*; mask, float32.*expected one input"),
        (_rename_output, r"answers logits, float32 \(any, 2\); expected float32 probabilities or values"),
        (_add_wrong_card, "damaged card.*card.json"),
        (_drop_nodes, "no graph"),
        (_unknown_operation, "ONNX Runtime.*Nonsense"),
        (_quantiles, "quantiles.*card"),
    ],
)
def test_a_network_of_others_that_cannot_be_used_is_refused_in_one_sentence(
    change: Callable[[Any], None], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = foreign(tmp_path / "foreign.onnx", change)
    with pytest.raises(InvalidValue, match=rf"foreign\.onnx` .*{message}"):
        open_artefact(path)
    assert main(["evaluate", str(path), "digits"]) == 2
    assert len(capfd.readouterr().err.splitlines()) <= 4  # one sentence, wrapped


def test_a_card_that_does_not_fit_the_graph_is_refused(exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported)
    shape = model.graph.input[0].type.tensor_type.shape
    shape.dim[1].dim_value, shape.dim[2].dim_value = 4, 16
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(InvalidValue, match=r"float32 \(any, 4, 16\).*card.*\(8, 8\)"):
        open_artefact(tmp_path / "other.onnx")


@pytest.mark.parametrize("content", [b"", b"not a network at all", b"\x89PNG\r\n\x1a\n", b"\0" * 100, b"{}"])
def test_a_file_that_is_no_onnx_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "fake.onnx"
    path.write_bytes(content)
    for read in (open_artefact, lambda name: read_facts(str(name), timeout_s=1.0)):
        with pytest.raises(InvalidValue, match=r"fake\.onnx` is (empty|not an ONNX file)"):
            read(path)


def test_damaged_files_answer_or_are_refused(exported: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content, path = exported.read_bytes(), tmp_path / "damaged.onnx"
    # Protobuf refuses most damaged files. Changed letters between its lengths reach the checks and ONNX Runtime.
    words = [b"image", b"Gemm", b"probabilities", b"class_id", b"gemm", b"axis", b"batch", b"dense_1_kernel"]
    changed = [content.replace(word, word[:1] + b"\xe5" + word[2:]) for word in words]
    changed += [content.replace(word, word[:-1] + b"x") for word in words]
    refused = []
    for damaged in [*changed, *(damage(content, seed) for seed in range(40))]:
        path.write_bytes(damaged)
        try:
            # Changed weights are weights: nothing tells that they were others.
            assert open_artefact(path).answers(np.ones((2, 8, 8))).shape == (2, 10)
        except InvalidValue as error:
            refused.append(str(error))
    assert len(refused) > 40
    assert all(message.startswith(f"`{path}` ") and "\n" not in message for message in refused)
    assert capfd.readouterr().out == ""


def test_info_says_the_same_without_onnx_and_its_runtime(exported: Path) -> None:
    assert read_facts(str(exported), timeout_s=1.0) == facts_of_opened(str(exported), timeout_s=1.0)
    code = (
        "import sys\n"
        "from kerasmlp.cli import main\n"
        "assert main(['info', sys.argv[1], '--json']) == 0\n"
        "heavy = {'tensorflow', 'keras', 'pandas', 'onnx', 'onnxruntime'}\n"
        "sys.stderr.write(' '.join(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(exported)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"class_id"' in done.stdout


def test_the_extra_is_asked_for_where_a_file_is_computed(
    exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kerasmlp._system.optional_packages.find_spec", lambda name: None)
    with pytest.raises(InvalidValue, match=r"onnxruntime.*kerasmlp\[onnx\]"):
        open_artefact(exported)
    assert main(["info", str(exported)]) == 0
    assert "digits" in capsys.readouterr().out


def test_a_size_that_the_runtime_cannot_compute_names_the_file(exported: Path) -> None:
    artefact = open_artefact(exported)
    with pytest.raises(InvalidValue, match=r"digits\.onnx.*ONNX Runtime.*image"):
        artefact.run_batch(np.ones((1, 9, 9)))
    with pytest.raises(InvalidValue, match=r"shape \(8, 8\); got \(9, 9\)"):
        kerasmlp.open_artefact(exported).answers(np.ones((1, 9, 9)))
