"""The configuration files for TF Serving: each one is valid, and they agree with each other."""

from __future__ import annotations

import json
import multiprocessing
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
from kerasmlp.export.saved_model.serving_files import NAME, NAMES, check_serving_files
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
    assert mounts["/models"]["source"] == str(folder.parent / 'a "b" $$HOME: #1')
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


# The labels of a real server's metrics (its page with batching on, of 2026-11-26), and those that Prometheus adds. The
# series of a histogram end in `_bucket`, which also has the label `le`, `_sum` and `_count`.
COUNTERS = {
    ":tensorflow:cc:saved_model:load_attempt_count": {"model_path", "status"},
    ":tensorflow:cc:saved_model:load_latency": {"model_path"},
    ":tensorflow:core:graph_runs": set(),
    ":tensorflow:core:graph_run_time_usecs": set(),
    ":tensorflow:serving:batching_session:wrapped_run_count": set(),
    ":tensorflow:serving:request_count": {"model_name", "status"},
    "up": {"job", "instance"},
}
HISTOGRAMS = {
    ":tensorflow:cc:saved_model:load_latency_by_stage": {"model_path", "stage"},
    ":tensorflow:core:graph_run_time_usecs_histogram": set(),
    ":tensorflow:serving:batching_session:input_batch_size": set(),
    ":tensorflow:serving:batching_session:padding_size": {"execution_batch_size"},
    ":tensorflow:serving:batching_session:processed_batch_size": set(),
    ":tensorflow:serving:batching_session:queuing_latency": {"thread_pool_name"},
    ":tensorflow:serving:model_warmup_latency": {"model_path", "status"},
    ":tensorflow:serving:request_latency": {"API", "entrypoint", "model_name"},
    ":tensorflow:serving:runtime_latency": {"API", "model_name", "runtime"},
}
SERIES = COUNTERS | {f"{name}_{end}": labels for name, labels in HISTOGRAMS.items() for end in ("sum", "count")}
SERIES |= {f"{name}_bucket": labels | {"le"} for name, labels in HISTOGRAMS.items()}
FUNCTIONS = {"sum", "by", "rate", "histogram_quantile", "or"}


def used_series(query: str) -> dict[str, set[str]]:
    """Returns the labels that a PromQL query uses of each series: those that select, and those of every `by`."""
    text = re.sub(r'"[^"]*"', '""', query)
    series = r"([:a-z][:\w]*)(?:\{([^{}]*)\})?\[\$__rate_interval\]|^([:a-z][:\w]*)(?:\{([^{}]*)\})?$"
    grouped = {label for group in re.findall(r"\bby \(([^)]*)\)", text) for label in group.split(", ")}
    found: dict[str, set[str]] = {}
    for match in re.finditer(series, text):
        selected = re.findall(r"(\w+) ?(?:=|!=|=~|!~)", match[2] or match[4] or "")
        found.setdefault(match[1] or match[3], set()).update(selected, grouped)
    rest = re.sub(r"\bby \([^)]*\)", "by", re.sub(series, "", text))
    assert set(re.findall(r"[a-zA-Z:_]+", rest)) <= FUNCTIONS, f"not understood: {query}"
    return found


def test_every_query_of_the_dashboard_uses_series_and_labels_that_the_server_has(folder: Path) -> None:
    dashboard = json.loads((folder / "dashboard.json").read_text(encoding="utf-8"))
    targets = [target for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(targets) >= 12
    for target in targets:
        used = used_series(target["expr"])
        assert used, target
        for series, labels in used.items():
            assert labels <= SERIES[series], target["expr"]
        # A legend shows labels that the result still has.
        kept = set(re.findall(r"\bby \(([^)]*)\)", target["expr"]))
        has = {label for group in kept for label in group.split(", ")} if kept else SERIES[next(iter(used))]
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= has - {"le"}, target
        assert target["expr"].count("(") == target["expr"].count(")")
    (variable,) = dashboard["templating"]["list"]
    series, label = re.findall(r"label_values\((\S+), (\w+)\)", variable["query"]["query"])[0]
    assert label in SERIES[series]
    assert f"${variable['name']}" in targets[0]["expr"]


@pytest.mark.parametrize(
    ("query", "used"),
    [
        ('sum by (le) (rate(a_bucket{x="1"}[$__rate_interval]))', {"a_bucket": {"x", "le"}}),
        ('a{x=~".*", y!="b"}', {"a": {"x", "y"}}),
        ('rate(:a:b[$__rate_interval]) / rate(c{z=""}[$__rate_interval])', {":a:b": set(), "c": {"z"}}),
    ],
)
def test_the_parser_of_queries_finds_all_labels(query: str, used: dict[str, set[str]]) -> None:
    assert used_series(query) == used


def test_the_dashboard_shows_exactly_the_metrics_that_the_readme_explains(folder: Path) -> None:
    dashboard = json.loads((folder / "dashboard.json").read_text(encoding="utf-8"))
    rows = re.findall(r"^\| `([:\w]+)` \| ([^|]+) \|", (folder / "README.md").read_text(), re.MULTILINE)
    explained = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows if name in COUNTERS | HISTOGRAMS}
    assert explained == {name: labels for name, labels in (COUNTERS | HISTOGRAMS).items() if name in explained}
    named = set()
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            for series in used_series(target["expr"]):
                named.add(series if series in COUNTERS else re.sub(r"_(bucket|sum|count)$", "", series))
    assert named == explained.keys()
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    (source,) = dashboard["__inputs"]
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {f"${{{source['name']}}}"}


@pytest.mark.parametrize(
    ("states", "is_healthy", "asks"),
    [
        ({"mnist-2": "AVAILABLE", "b.2": "LOADING"}, True, 1),
        ({"mnist-2": "LOADING", "b.2": "AVAILABLE"}, True, 2),
        ({"mnist-2": "LOADING", "b.2": "END"}, False, 2),
    ],
)
def test_the_health_check_succeeds_only_if_a_model_is_available(
    folder: Path, states: dict[str, str], is_healthy: bool, asks: int
) -> None:
    write_serving_files(folder.parent / "b.2", folder)
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            state = states[self.path.removeprefix("/v1/models/")]
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
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        script = command[-1].replace("8501", str(server.server_port)).replace("$$", "$")
        command[-1] = script.replace("/config/", f"{folder}/")
        done = subprocess.run(command, check=False)
        server.shutdown()
        thread.join()
    assert asked == [f"/v1/models/{name}" for name in ("mnist-2", "b.2")][:asks]
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


# Several models


def served(folder: Path) -> dict[str, Path]:
    """Returns where the server finds the versions of each model, outside of the container."""
    service = yaml.safe_load((folder / "compose.yaml").read_text())["services"]["serving"]
    mounts = {mount["target"]: Path(mount["source"].replace("$$", "$")) for mount in service["volumes"]}
    assert len(mounts) == len(service["volumes"])
    found = {}
    for model in parse(folder / "models.config", "ModelServerConfig").model_config_list.config:
        assert model.name not in found
        assert model.model_version_policy.latest.num_versions == 1
        (path,) = [
            source / Path(model.base_path).relative_to(target)
            for target, source in mounts.items()
            if Path(model.base_path).is_relative_to(target)
        ]
        found[model.name] = path
    return found


def test_further_models_are_added_and_those_in_the_same_folder_need_no_restart(folder: Path, tmp_path: Path) -> None:
    above = tmp_path / 'a "b" $HOME: #1'
    compose = (folder / "compose.yaml").read_text()
    write_serving_files(above / "b", folder)
    assert (folder / "compose.yaml").read_text() == compose
    assert served(folder) == {"mnist-2": above / "mnist-2", "b": above / "b"}
    elsewhere = tmp_path / "elsewhere" / "c"
    files = write_serving_files(elsewhere, folder)
    assert [file.name for file in files] == list(NAMES)
    assert served(folder) == {"mnist-2": above / "mnist-2", "b": above / "b", "c": elsewhere}
    readme = (folder / "README.md").read_text()
    assert all(f"/v1/models/{name}/metadata" in readme and str(path) in readme for name, path in served(folder).items())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for base in (above / "mnist-2", above / "b", elsewhere):  # a new version of a model
        write_serving_files(base, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert before.keys() == set(NAMES)
    with pytest.raises(InvalidValue, match="serves another folder as `b`: `/models/b`"):
        write_serving_files(tmp_path / "elsewhere" / "b", folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_was_edited_by_hand_stays(folder: Path, tmp_path: Path) -> None:
    edits = {
        "compose.yaml": [
            ("mem_limit: 2g", "mem_limit: 9g"),
            ("/models,", "/served,"),
            ("volumes:\n", "volumes: # ours\n"),
        ],
        "models.config": [
            (': "/models/', ': "/served/'),
            ("latest { num_versions: 1 } }\n  }", 'latest { num_versions: 1 } } # }\n  }  # not: config { name: "x" }'),
        ],
        "batching.config": [("{ value: 256 }", "{ value: 512 }")],
        "dashboard.json": [("TensorFlow Serving", "Ours")],
        "README.md": [
            ("# TensorFlow Serving", "# Ours"),
            ("<!-- kerasmlp adds further models above this line. -->", ""),
        ],
    }
    for name, pairs in edits.items():
        text = (folder / name).read_text()
        for old, new in pairs:
            assert old in text, (name, old)
            text = text.replace(old, new, 1)
        (folder / name).write_text(text)
    before = {name: (folder / name).read_text() for name in NAMES}
    base = Path(tmp_path, 'a "b" $HOME: #1', "b")
    write_serving_files(base, folder)
    write_serving_files(tmp_path / "c", folder)
    assert served(folder) == {"mnist-2": base.with_name("mnist-2"), "b": base, "c": tmp_path / "c"}
    for name in NAMES:  # lines were added only
        lines = iter((folder / name).read_text().splitlines())
        assert all(line in lines for line in before[name].rstrip().splitlines()), name
    assert (folder / "batching.config").read_text() == before["batching.config"]
    assert all(f"[`{name}`]" in (folder / "README.md").read_text() for name in ("b", "c"))


def test_a_deployment_of_an_earlier_version_can_be_extended(folder: Path, tmp_path: Path) -> None:
    """It mounted the folder of versions of its only model."""
    for name, old, new in (
        ("compose.yaml", '#1", target: /models,', '#1/mnist-2", target: /models/mnist-2,'),
        ("models.config", "model_config_list {\n", "model_config_list: {\n"),
    ):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))
    above = tmp_path / 'a "b" $HOME: #1'
    write_serving_files(above / "mnist-2", folder)
    assert served(folder) == {"mnist-2": above / "mnist-2"}
    write_serving_files(above / "b", folder)
    assert served(folder) == {"mnist-2": above / "mnist-2", "b": above / "b"}


def test_overwriting_keeps_the_models_and_drops_what_was_edited(folder: Path, tmp_path: Path) -> None:
    above = tmp_path / 'a "b" $HOME: #1'
    write_serving_files(tmp_path / "c" / "d", folder)
    (folder / "batching.config").write_text("mine")
    write_serving_files(above / "b", folder, overwrite=True)
    assert served(folder) == {"mnist-2": above / "mnist-2", "d": tmp_path / "c" / "d", "b": above / "b"}
    assert "mine" not in (folder / "batching.config").read_text()
    write_serving_files(tmp_path / "b", folder, overwrite=True)  # replaces the folder of a model
    assert served(folder)["b"] == tmp_path / "b"


def test_models_in_a_home_folder_or_at_the_top_do_not_show_the_container_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for base in (tmp_path / "digits", Path("/letters"), tmp_path / "models" / "mnist", tmp_path / "signs"):
        write_serving_files(base, tmp_path / "serving")
        assert served(tmp_path / "serving")[base.name] == base
    service = yaml.safe_load((tmp_path / "serving" / "compose.yaml").read_text())["services"]["serving"]
    assert not {mount["source"] for mount in service["volumes"]} & {"/", str(tmp_path)}


def test_the_container_sees_a_folder_that_is_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk" / "digits-v2").mkdir(parents=True)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "digits").symlink_to(tmp_path / "disk" / "digits-v2")
    write_serving_files(tmp_path / "models" / "digits", tmp_path / "serving")
    assert served(tmp_path / "serving") == {"digits": tmp_path / "disk" / "digits-v2"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("models.config", "model_config_list {"),
        ("models.config", ""),
        ("compose.yaml", "services: [\n"),
        ("compose.yaml", "services: {serving: {image: x}}\n"),
    ],
)
def test_files_that_cannot_be_extended_are_refused_and_stay(folder: Path, tmp_path: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InvalidValue, match=f"{name}`"):
        write_serving_files(tmp_path / "c", folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def add_models(folder: Path, worker: int) -> None:
    """Adds five models in folders of their own, as one of several processes."""
    for number in range(5):
        base = folder / f"above-{number}" / f"model-{worker}-{number}"
        check_serving_files(base, folder / "serving")
        write_serving_files(base, folder / "serving")


def test_processes_may_add_models_at_the_same_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=add_models, args=(tmp_path, worker)) for worker in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    expected = {
        f"model-{worker}-{number}": tmp_path / f"above-{number}" / f"model-{worker}-{number}"
        for worker in range(4)
        for number in range(5)
    }
    assert served(tmp_path / "serving") == expected
    assert {path.name for path in (tmp_path / "serving").iterdir()} == set(NAMES)


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
