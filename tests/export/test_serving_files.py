"""The configuration files for TF Serving: each one is valid, and they agree with each other."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from kerasmlp.cli import main
from kerasmlp.errors import InvalidValue, OutputExists
from kerasmlp.export import write_serving_files
from kerasmlp.export.saved_model.serving_files import BASE, NAME, NAMES
from kerasmlp.export.saved_model.warm_up_requests import BATCH_SIZES
from kerasmlp.run import Run

# The fields of TensorFlow Serving's messages (model_server_config.proto, file_system_storage_path_source.proto,
# session_bundle_config.proto, monitoring_config.proto), as `name type`. The server refuses all other fields.
INT64 = "google.protobuf.Int64Value"
MESSAGES = {
    "ModelServerConfig": ["model_config_list ModelConfigList"],
    "ModelConfigList": ["config repeated ModelConfig"],
    "ModelConfig": ["name string", "base_path string", "model_platform string", "model_version_policy Policy"],
    "Policy": ["latest Latest", "specific Specific"],
    "Latest": ["num_versions uint32"],
    "Specific": ["versions repeated int64"],
    "BatchingParameters": [
        *(f"{name} {INT64}" for name in ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches")),
        f"num_batch_threads {INT64}",
        "thread_pool_name google.protobuf.StringValue",
        "allowed_batch_sizes repeated int64",
        "pad_variable_length_inputs bool",
    ],
    "MonitoringConfig": ["prometheus_config PrometheusConfig"],
    "PrometheusConfig": ["enable bool", "path string"],
}
# Flags in `tensorflow_model_server --help`.
FLAGS = {
    "port",
    "rest_api_port",
    "rest_api_num_threads",
    "rest_api_timeout_in_ms",
    "enable_batching",
    "batching_parameters_file",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "num_load_threads",
    "num_unload_threads",
    "max_num_load_retries",
    "load_retry_interval_micros",
    "file_system_poll_wait_seconds",
    "tensorflow_intra_op_parallelism",
    "tensorflow_inter_op_parallelism",
    "enable_model_warmup",
    "monitoring_config_file",
}


def message(name: str) -> Any:
    """Returns an empty message of TensorFlow Serving."""
    file = descriptor_pb2.FileDescriptorProto(name="serving.proto", package="tensorflow.serving", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for message_name, fields in MESSAGES.items():
        described = file.message_type.add(name=message_name)
        for number, field in enumerate(fields, start=1):
            field_name, *repeated, kind = field.split()
            added = described.field.add(name=field_name, number=number, label=3 if repeated else 1)
            if kind[0].isupper() or "." in kind:
                added.type_name = f".{kind}" if "." in kind else f".tensorflow.serving.{kind}"
                added.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
            else:
                added.type = descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tensorflow.serving.{name}"))()


def parse(path: Path, name: str) -> Any:
    """Returns the message in a file, parsed as strictly as a server does it."""
    return text_format.Parse(path.read_text(), message(name))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files for the model `mnist-2`, whose path contains characters with a meaning in YAML and Compose."""
    base = tmp_path / 'a "b" $HOME: #1' / "mnist-2"
    files = write_serving_files(base, tmp_path / "serving")
    assert tuple(file.name for file in files) == NAMES
    return tmp_path / "serving"


def test_no_placeholder_is_left(folder: Path) -> None:
    for name in NAMES:
        text = (folder / name).read_text(encoding="utf-8")
        assert NAME not in text, name
        assert BASE not in text, name


def test_the_compose_file_starts_the_server_with_the_other_files(folder: Path) -> None:
    service = yaml.safe_load((folder / "compose.yaml").read_text())["services"]["serving"]
    image, version = service["image"].split(":")
    assert image == "tensorflow/serving"
    assert re.fullmatch(r"\d+\.\d+\.\d+", version), "a fixed version"
    assert service["platform"] == "linux/amd64"
    flags = dict(flag.removeprefix("--").split("=") for flag in service["command"])
    assert flags.keys() <= FLAGS
    assert int(flags["num_load_threads"]) > 1
    assert int(flags["max_num_load_retries"]) < 5
    mounts = {mount["target"]: mount for mount in service["volumes"]}
    assert mounts["/models/mnist-2"]["source"] == str(folder.parent / 'a "b" $$HOME: #1' / "mnist-2")
    assert all(mount["read_only"] for mount in mounts.values())
    for flag in ("model_config_file", "monitoring_config_file"):
        assert (folder / Path(flags[flag]).relative_to("/config")).is_file()
    (model,) = parse(folder / "models.config", "ModelServerConfig").model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("mnist-2", "/models/mnist-2", "tensorflow")
    assert model.model_version_policy.latest.num_versions == 1
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_the_servers_batch_sizes_are_those_of_the_warm_up_requests(folder: Path) -> None:
    batching = parse(folder / "batching.config", "BatchingParameters")
    assert tuple(batching.allowed_batch_sizes) == BATCH_SIZES
    assert batching.max_batch_size.value == BATCH_SIZES[-1]


def test_the_readmes_prometheus_job_reads_the_path_that_the_server_publishes(folder: Path) -> None:
    prometheus = parse(folder / "monitoring.config", "MonitoringConfig").prometheus_config
    assert prometheus.enable
    (block,) = re.findall(r"```yaml\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    (job,) = yaml.safe_load(block)["scrape_configs"]
    assert job["metrics_path"] == prometheus.path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("models.config", "ModelServerConfig"),
        ("batching.config", "BatchingParameters"),
        ("monitoring.config", "MonitoringConfig"),
    ],
)
def test_a_misspelt_field_would_be_found(folder: Path, name: str, kind: str) -> None:
    text = (folder / name).read_text()
    for field in set(re.findall(r"^\s*(\w+)\s*[:{]", text, re.MULTILINE)):
        with pytest.raises(text_format.ParseError, match="has no field named"):
            text_format.Parse(re.sub(rf"\b{field}\b(?=\s*[:{{])", f"{field}x", text), message(kind))


def test_the_dashboard_shows_exactly_the_metrics_that_the_readme_explains(folder: Path) -> None:
    dashboard = json.loads((folder / "dashboard.json").read_text(encoding="utf-8"))
    explained = set(re.findall(r"^\| `([:\w]+)`", (folder / "README.md").read_text(), re.MULTILINE))
    assert len(explained) >= 8
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    named = {
        re.sub(r"_(bucket|sum|count)$", "", name) if name not in explained else name
        for expression in expressions
        for name in re.findall(r":tensorflow:[:\w]+|\bup\b", expression)
    }
    assert named == explained
    assert all(expression.count("(") == expression.count(")") for expression in expressions)
    assert any('model_name="mnist-2"' in expression for expression in expressions)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    (source,) = dashboard["__inputs"]
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {f"${{{source['name']}}}"}


@pytest.mark.parametrize(("state", "is_healthy"), [("AVAILABLE", True), ("LOADING", False)])
def test_the_health_check_succeeds_only_if_the_model_is_available(folder: Path, state: str, is_healthy: bool) -> None:
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps({"model_version_status": [{"version": "1", "state": state}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    service = yaml.safe_load((folder / "compose.yaml").read_text())["services"]["serving"]
    kind, *command = service["healthcheck"]["test"]
    assert kind == "CMD"
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        command[-1] = command[-1].replace("8501", str(server.server_port))
        done = subprocess.run(command, check=False)
        thread.join()
    assert asked == ["/v1/models/mnist-2"]
    assert (done.returncode == 0) is is_healthy


def test_existing_files_are_replaced_only_if_asked(tmp_path: Path) -> None:
    (tmp_path / "monitoring.config").write_text("mine")
    with pytest.raises(OutputExists, match="monitoring.config` exists.*`overwrite=True`"):
        write_serving_files("models/digits", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["monitoring.config"]
    assert len(write_serving_files("models/digits", tmp_path, overwrite=True)) == len(NAMES)
    assert len(write_serving_files("models/digits", tmp_path)) == len(NAMES), "identical files are no obstacle"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputExists, match="file` is a file"):
        write_serving_files("models/digits", tmp_path / "file")


def test_a_folder_whose_name_does_not_fit_into_a_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="`my model`.*name in URLs"):
        write_serving_files(tmp_path / "my model", tmp_path / "serving")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--serving out", "`--serving` is for SavedModels"),
        ("--tflite out --keep 2", "`--keep` is for SavedModels"),
        ("--saved-model out --keep 0", "`--keep`"),
        ("--saved-model out --keep few", "invalid int value: 'few'"),
        ("--saved-model no+name --serving out", "becomes the model's name in URLs"),
    ],
)
def test_wrong_options_of_the_export_command_are_refused_and_write_nothing(
    capfd: pytest.CaptureFixture[str],
    digits_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = main(["export", str(digits_run.path), *options.split()])
    except SystemExit as ended:  # argparse's way
        status = int(str(ended.code))
    assert status == 2
    assert message in capfd.readouterr().err
    assert not list(tmp_path.iterdir())
