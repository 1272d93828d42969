"""`connect` and `ServingClient`: ask a model behind TF Serving over REST or gRPC, NumPy arrays in and out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from kerasmlp.client.address import REST, Address, parse_address
from kerasmlp.client.failures import Retries, unexpected
from kerasmlp.client.model_signature import Signature, TensorSpec, VersionStatus, as_input, main_output
from kerasmlp.client.tensor_types import STRING
from kerasmlp.contract import COLUMNS, LABELS, PROBABILITIES, SERVING_DEFAULT, TIMEOUT_S
from kerasmlp.errors import InvalidType, InvalidValue, nearest

MAX_ROWS = 256  # per request: the largest batch in an export's warm-up requests and in its batching configuration
MAX_BYTES = 2 * 2**20  # per request: half of what gRPC servers and proxies accept by default
MAX_TIMEOUT_S = 86_400  # a day; sockets and gRPC do not take every number
SUM_TOLERANCE = 1e-3  # for a row of probabilities, because they are float32 and REST writes them as decimals


class Transport(Protocol):
    """What each protocol implements.

    Every call may raise `ServerError`, `NoAnswer`, `Busy`, `TimedOut` or `InvalidValue`.
    """

    def signatures(self, timeout_s: float) -> dict[str, Signature]:
        """Returns the model's signatures by name."""

    def status(self, timeout_s: float) -> list[VersionStatus]:
        """Returns the model's versions."""

    def predict(
        self, name: str, signature: Signature, inputs: dict[str, np.ndarray], timeout_s: float
    ) -> dict[str, np.ndarray]:
        """Returns the outputs by name; strings as bytes.

        Args:
            name: Name of the signature.
            signature: The signature itself.
            inputs: Arrays by input name, with exactly the types of the signature.
            timeout_s: Seconds until the answer has to be complete.
        """

    def bytes_per_row(self, array: np.ndarray) -> int:
        """Returns the largest number of bytes that one row of an input takes in a request."""

    def close(self) -> None:
        """Closes the connection."""


def connect(url: str, *, timeout_s: float = TIMEOUT_S, retries: int = 3) -> ServingClient:
    """Returns a client for the model that `url` names. It connects when it sends its first request.

    Args:
        url: `http://HOST:PORT/v1/models/NAME` or `grpc://HOST:PORT/NAME`, optionally followed by `/versions/NUMBER` or
            `/labels/LABEL`. TF Serving's usual ports are 8501 for `http://` and 8500 for `grpc://`. `https://` and
            `grpcs://` are encrypted.
        timeout_s: Seconds to wait for one answer, including connecting and retries; above 0, at most 86,400. Defaults
            to 30. While the server cannot be reached or closes the connection, the request is sent again until this
            time is over. A server that has never answered this client gets at most 10 s, because its address may be
            mistyped. After 1 s, the logger `kerasmlp.client` says what is waited for.
        retries: How often a request is sent again after the server answered that it is busy. At least 0; defaults to 3.

    Raises:
        InvalidValue: `url` is not such a URL, or a number is out of range.

    Example:
        >>> from kerasmlp.client import connect
        >>> with connect("grpc://localhost:8500/digits") as client:
        ...     client.address.model
        'digits'

    See Also:
        `ServingClient.predict`: `client.predict(examples)` returns the model's outputs by name.
        `kerasmlp.open_artefact`: opens the same URLs for `kerasmlp.evaluate`.
    """
    if not isinstance(timeout_s, int | float) or not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise InvalidValue(f"`timeout_s` needs a number of seconds above 0 and at most 86,400; got {timeout_s}.")
    if not isinstance(retries, int) or retries < 0:
        raise InvalidValue(f"`retries` needs a whole number of at least 0; got {retries}.")
    return ServingClient(parse_address(url), timeout_s=timeout_s, retries=retries)


class ServingClient:
    """A model on a server. `connect` creates it.

    Use it as a context manager, or call `close` at the end. Threads may share a gRPC client; over REST each thread
    needs a client of its own.

    Attributes:
        address: The server and model that the URL names.
        timeout_s: Seconds to wait for one answer, including connecting and retries.
        retries: How often a request is sent again after the server answered that it is busy.
    """

    def __init__(self, address: Address, *, timeout_s: float, retries: int) -> None:
        """Opens the transport of the address's protocol."""
        self.address = address
        self.timeout_s = timeout_s
        self.retries = retries
        self._retries = Retries(address, timeout_s=timeout_s, retries=retries)
        self._transport = _open_transport(address, timeout_s)

    @cached_property
    def signatures(self) -> dict[str, Signature]:
        """The model's signatures by name. The server is asked once.

        Raises:
            ServerError: the server is down or slow, does not serve the model, or is not TF Serving.
        """
        signatures: dict[str, Signature] = self._ask(self._transport.signatures)
        return signatures

    def status(self) -> list[VersionStatus]:
        """Returns the model's versions and their states, newest first.

        Raises:
            ServerError: the server is down or slow, does not serve the model, or is not TF Serving.
        """
        return sorted(self._ask(self._transport.status), key=lambda status: -status.version)

    def signature(self, name: str) -> Signature:
        """Returns the signature with this name.

        Raises:
            InvalidValue: the model has no such signature.
            ServerError: the server is down or slow, does not serve the model, or is not TF Serving.
        """
        if name not in self.signatures:
            known = ", ".join(f"`{known}`" for known in sorted(self.signatures))
            raise InvalidValue(
                f"`{self.address.url}` has no signature `{name}`; it has {known}.{nearest(name, self.signatures)}"
            )
        return self.signatures[name]

    def predict(self, inputs: Any, *, signature: str = SERVING_DEFAULT) -> dict[str, np.ndarray]:
        """Returns the model's outputs by name, for any number of examples.

        More than 256 examples, or more than 2 MB, are sent in several requests.

        Args:
            inputs: For a signature with a single input: an array or nested lists, whose first axis is the examples.
                For several inputs: a dict of arrays by input name, or a pandas frame. Values are converted to the
                signature's types if that loses nothing. In the signature `columns`, NaN stands for a missing number.
            signature: Name of the signature. Defaults to `"serving_default"`.

        Returns:
            Arrays whose first axis is the examples. Numbers have the types of the signature. Strings are NumPy text
            arrays, or `bytes` objects for outputs whose names end in `_bytes`.

        Raises:
            InvalidType, InvalidValue: there is no such signature, or `inputs` have wrong names, shapes or types, or
                values that are not finite, not whole or out of range; or the server itself refuses them.
            ServerError: the server is down or slow, does not serve the model, or is not TF Serving.
        """
        spec = self.signature(signature)
        arrays = self._converted(inputs, signature, spec)
        num_rows = {len(array) for name, array in arrays.items() if spec.inputs[name].shape[:1] == (None,)}
        if len(num_rows) > 1:
            sizes = ", ".join(f"`{name}` {len(array)}" for name, array in arrays.items())
            raise InvalidValue(f"All inputs need the same number of examples; got {sizes}.")
        if not num_rows:
            return self._predict_once(signature, spec, arrays, None)
        (rows,) = num_rows
        if rows == 0:  # the server refuses empty requests
            return {name: _empty(output) for name, output in spec.outputs.items()}
        per_row = sum(self._transport.bytes_per_row(array) for array in arrays.values())
        step = max(1, min(MAX_ROWS, MAX_BYTES // max(per_row, 1)))
        parts = []
        for start in range(0, rows, step):
            part = {name: array[start : start + step] for name, array in arrays.items()}
            parts.append(self._predict_once(signature, spec, part, min(step, rows - start)))
        return {name: np.concatenate([part[name] for part in parts]) for name in spec.outputs}

    def probabilities(self, inputs: Any, *, signature: str = SERVING_DEFAULT) -> np.ndarray:
        """Returns the probability of each class for each example.

        Args:
            inputs: An array or nested lists for a signature with a single input; otherwise a dict of arrays by input
                name, or a pandas frame. The first axis is the examples.
            signature: Name of the signature. Defaults to `"serving_default"`.

        Returns:
            float32 `(examples, classes)`; each row adds up to 1.

        Raises:
            InvalidType, InvalidValue: `inputs` do not fit the signature.
            ServerError: the server is down or slow, does not serve the model, is not TF Serving, or its answers are
                not probabilities.

        See Also:
            `predict`: returns all outputs.
            `answers`: returns the probabilities of classes or labels, and numbers or their quantiles.
        """
        return self.checked_probabilities(self.predict(inputs, signature=signature))

    def answers(self, inputs: Any, *, signature: str = SERVING_DEFAULT) -> np.ndarray:
        """Returns the main output for each example: `probabilities`, or `values` or `quantiles` of numbers.

        Args:
            inputs: As in `probabilities`.
            signature: As in `probabilities`.

        Returns:
            float32 `(examples, classes, labels or targets)`; for quantiles `(examples, targets, quantiles)`.

        Raises:
            InvalidType, InvalidValue: `inputs` do not fit the signature.
            ServerError: the server is down or slow, does not serve the model, is not TF Serving, or its answers are
                not probabilities or not finite numbers.
        """
        return self.checked_answers(self.predict(inputs, signature=signature))

    def checked_answers(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns the main output after checking that it holds probabilities or finite numbers.

        Args:
            outputs: What `predict` returned.

        Raises:
            ServerError: there is no such output, or its values are something else.
        """
        main = main_output(outputs)
        if main in (None, PROBABILITIES):
            return self.checked_probabilities(outputs)
        answers = outputs[main]
        if answers.dtype.kind != "f" or not np.isfinite(answers).all():
            raise unexpected(self.address, f"answered `{main}` that are not finite numbers")
        return answers

    def checked_probabilities(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns the output `probabilities` after checking that each row adds up to 1, unless labels are independent.

        Args:
            outputs: What `predict` returned.

        Raises:
            ServerError: there is no such output, or its values are not probabilities.
        """
        if PROBABILITIES not in outputs:
            names = ", ".join(f"`{name}`" for name in outputs)
            raise unexpected(self.address, f"answered {names}, but no `{PROBABILITIES}`")
        probabilities = outputs[PROBABILITIES]
        if probabilities.ndim != 2 or probabilities.dtype.kind != "f":
            raise unexpected(
                self.address, f"answered `{PROBABILITIES}` of shape {probabilities.shape}, {probabilities.dtype}"
            )
        sums = probabilities.sum(axis=1)
        in_range = (probabilities >= 0).all(axis=1) & (probabilities <= 1 + SUM_TOLERANCE).all(axis=1)
        wrong = ~(in_range & ((np.abs(sums - 1) <= SUM_TOLERANCE) | (LABELS in outputs)))
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise unexpected(
                self.address,
                f"answered numbers that are not probabilities: those of example {row + 1} are between "
                f"{probabilities[row].min():.4g} and {probabilities[row].max():.4g} and add up to {sums[row]:.4g}",
            )
        return probabilities

    def close(self) -> None:
        """Closes the connection."""
        self._transport.close()

    def __enter__(self) -> ServingClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: Any) -> Any:
        return self._retries.ask(request)

    def _converted(self, inputs: Any, name: str, signature: Signature) -> dict[str, np.ndarray]:
        """Returns `inputs` as arrays of exactly the types that the signature takes."""
        if hasattr(inputs, "to_dict") and hasattr(inputs, "columns"):  # a pandas frame
            inputs = {str(column): inputs[column].to_numpy() for column in inputs.columns}
        known = ", ".join(f"`{key}`" for key in signature.inputs)
        if not isinstance(inputs, Mapping):
            if len(signature.inputs) != 1:
                raise InvalidType(
                    f"The signature `{name}` needs a dict or a frame with the inputs {known}; got "
                    f"{type(inputs).__name__}."
                )
            inputs = {next(iter(signature.inputs)): inputs}
        if inputs.keys() != signature.inputs.keys():
            missing = ", ".join(f"`{key}`" for key in signature.inputs if key not in inputs)
            unknown = ", ".join(f"`{key}`" for key in inputs if key not in signature.inputs)
            problems = "; ".join([f"missing: {missing}"] * bool(missing) + [f"unknown: {unknown}"] * bool(unknown))
            others = [other for other, spec in self.signatures.items() if inputs.keys() == spec.inputs.keys()]
            hint = f" The signature `{others[0]}` takes these inputs." if others else ""
            raise InvalidValue(f"The signature `{name}` takes the inputs {known}; {problems}.{hint}")
        return {
            key: as_input(inputs[key], spec, key, nan_is_missing=name == COLUMNS)
            for key, spec in signature.inputs.items()
        }

    def _predict_once(
        self, name: str, signature: Signature, inputs: dict[str, np.ndarray], rows: int | None
    ) -> dict[str, np.ndarray]:
        outputs = self._ask(lambda timeout_s: self._transport.predict(name, signature, inputs, timeout_s))
        return {key: self._checked(key, outputs, spec, rows) for key, spec in signature.outputs.items()}

    def _checked(self, name: str, outputs: dict[str, np.ndarray], spec: TensorSpec, rows: int | None) -> np.ndarray:
        """Returns an output after checking that it is what its signature promises."""
        if name not in outputs:
            raise unexpected(self.address, f"did not answer `{name}`, which its signature promises")
        array = outputs[name]
        expected = spec if rows is None else TensorSpec(spec.dtype, (rows, *spec.shape[1:]))
        is_string = array.dtype == object
        if not expected.fits(array.shape) or (spec.dtype == STRING) != is_string:
            raise unexpected(
                self.address,
                f"answered `{name}` of shape {array.shape}, {array.dtype}; its signature promises {expected}",
            )
        if not is_string:
            return array.astype(spec.dtype, copy=False)
        if name.endswith("_bytes"):
            return array
        try:
            return np.array([value.decode() for value in array.ravel()], str).reshape(array.shape)
        except UnicodeDecodeError as error:
            raise unexpected(self.address, f"answered text in `{name}` that is not UTF-8 ({error})") from error


def _open_transport(address: Address, timeout_s: float) -> Transport:
    if address.protocol == REST:
        from kerasmlp.client.rest_transport import RestTransport

        return RestTransport(address)
    from kerasmlp.client.grpc_transport import GrpcTransport  # importing gRPC takes a fifth of a second

    return GrpcTransport(address, timeout_s=timeout_s)


def _empty(spec: TensorSpec) -> np.ndarray:
    """Returns an output for no examples."""
    shape = tuple(0 if axis is None else axis for axis in spec.shape)
    return np.zeros(shape, str if spec.dtype == STRING else spec.dtype)
