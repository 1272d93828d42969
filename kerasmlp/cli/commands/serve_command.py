"""`kerasmlp serve`: serves models over HTTP, as TF Serving does, from this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kerasmlp.cli.option_types import label_and_version
from kerasmlp.serving.settings import ServerSettings

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from kerasmlp.cli.command_outcome import Outcome

EXAMPLES = (
    "kerasmlp serve runs/digits",
    "kerasmlp serve models/digits mobile/flowers_float32.tflite --port 8080",
    "kerasmlp serve prices=models/houses --grpc-port 8500",
)


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    default = ServerSettings.default
    parser.add_argument(
        "models",
        metavar="MODEL",
        nargs="+",
        help="folder of numbered versions, SavedModel folder, .tflite or .onnx file, or run directory; NAME=PATH "
        "chooses its name",
    )
    group = parser.add_argument_group("network")
    group.add_argument(
        "--port", type=int, default=default("port"), metavar="N", help="port, 0 for a free one (default: %(default)s)"
    )
    group.add_argument(
        "--host",
        default=default("host"),
        metavar="ADDRESS",
        help="address to listen on; 0.0.0.0 lets other machines ask (default: %(default)s)",
    )
    group.add_argument("--grpc-port", type=int, metavar="N", help="also serve gRPC on this port, such as 8500")
    group.add_argument("--certificate", metavar="FILE", help="encrypt, with the certificate in this file")
    group.add_argument("--key", metavar="FILE", help="the certificate's private key")
    group = parser.add_argument_group("versions")
    group.add_argument(
        "--poll-s",
        type=float,
        default=default("poll_s"),
        metavar="S",
        help="seconds between two looks for a newer version (default: %(default)s)",
    )
    group.add_argument(
        "--label",
        dest="labels",
        type=label_and_version,
        action="append",
        metavar="NAME=N",
        help="also serve version N, as /labels/NAME; may be repeated",
    )
    group = parser.add_argument_group("limits")
    group.add_argument(
        "--max-body-mb",
        type=float,
        default=default("max_body_mb"),
        metavar="MB",
        help="largest request (default: %(default)s)",
    )
    group.add_argument(
        "--max-batch",
        type=int,
        default=default("max_batch"),
        metavar="N",
        help="most examples in a request (default: %(default)s)",
    )
    group.add_argument(
        "--timeout-s",
        type=float,
        default=default("timeout_s"),
        metavar="S",
        help="seconds that a client may take to send a request or to read an answer (default: %(default)s)",
    )
    parser.add_argument("--log-requests", action="store_true", help="print a line for each request on stderr")


def run(args: Namespace) -> Outcome:
    """Loads the models and takes the port. The server runs after the result is shown."""
    import gc
    import sys

    from kerasmlp._system.terminal import results_console
    from kerasmlp.cli.command_outcome import Outcome
    from kerasmlp.serving import LocalServer

    server = LocalServer(
        args.models,
        port=args.port,
        host=args.host,
        grpc_port=args.grpc_port,
        poll_s=args.poll_s,
        max_body_mb=args.max_body_mb,
        max_batch=args.max_batch,
        timeout_s=args.timeout_s,
        labels=dict(args.labels or []),
        certificate=args.certificate,
        key=args.key,
        on_request=(lambda line: print(line, file=sys.stderr, flush=True)) if args.log_requests else None,
    )
    from kerasmlp.serving.start_page import curl_line

    found = {name: server.models.find(name) for name in server.models.sources}
    models = [
        {
            "name": name,
            "version": version,
            "path": str(server.models.sources[name].path),
            "signatures": list(loaded.signatures),
            "url": f"{server.url}/v1/models/{name}",
        }
        for name, (version, loaded) in found.items()
    ]

    def show() -> None:
        console = results_console()
        lines = [
            f"{model['name']}: version {model['version']} of {model['path']}, "
            f"{server.models.sources[str(model['name'])].description}"
            for model in models
        ]
        also = f" and {server.grpc_url}" if server.grpc_url else ""
        lines += ["", f"Serving at {server.url}{also}. Ctrl+C stops it. Try:"]
        lines += [f"  {curl_line(server.url, name, loaded)}" for name, (_, loaded) in found.items()]
        for line in lines:  # paths may contain what Rich takes for markup
            console.print(line, soft_wrap=True, markup=False, highlight=False)

    def serve() -> None:
        _tell_on_stderr()
        gc.freeze()  # what is loaded by now stays, so that looking for garbage takes less time between requests
        server.run()
        print("Stopped.", file=sys.stderr)

    result = {"url": server.url, "grpc_url": server.grpc_url, "models": models}
    return Outcome(result, show, afterwards=serve)


def _tell_on_stderr() -> None:
    """Shows which versions the server loads, and what goes wrong, each with its time."""
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("kerasmlp.serving")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
