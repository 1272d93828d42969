"""`ServingClient`: a model behind TF Serving, asked over REST or gRPC in the same words, NumPy in and out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from kerasmlp.client.address import REST, Address, parse_address
from kerasmlp.client.failures import unfit, with_patience
from kerasmlp.client.model_signature import COLUMNS, Signature, TensorSpec, VersionStatus, as_input
from kerasmlp.client.tensors import STRING
from kerasmlp.errors import InvalidType, InvalidValue, nearest

SERVING_DEFAULT = "serving_default"
PROBABILITIES = "probabilities"
MOST_ROWS = 256  # per request: a full batch of an export's warm-up records and of its batching configuration
MOST_BYTES = 2 * 2**20  # per request: half of what gRPC servers and proxies take without being told
SUM_TOLERANCE = 1e-3  # of a row of probabilities, which came through float32 and perhaps through decimals


class Transport(Protocol):
    """What a protocol has to be able to do; each call may raise `ServerError`, `Unanswered` or `InvalidValue`."""

    def signatures(self, timeout_s: float) -> dict[str, Signature]:
        """The model's signatures by name."""

    def status(self, timeout_s: float) -> list[VersionStatus]:
        """The model's versions."""

    def predict(
        self, name: str, signature: Signature, inputs: dict[str, np.ndarray], timeout_s: float
    ) -> dict[str, np.ndarray]:
        """The outputs for arrays of exactly the types that the signature takes; strings as bytes."""

    def bytes_per_row(self, array: np.ndarray) -> int:
        """How large a row of an input is in a request, at most."""

    def close(self) -> None:
        """Ends the connection."""


def connect(url: str, *, timeout_s: float = 30.0, retries: int = 3) -> ServingClient:
    """A client of the model that `url` names. Nothing is sent before the first question.

    Args:
        url: `http://HOST:8501/v1/models/NAME` or `grpc://HOST:8500/NAME`, after which may follow `/versions/NUMBER` or
            `/labels/LABEL`; `https://` and `grpcs://` are encrypted.
        timeout_s: Seconds to wait for one answer, repetitions included.
        retries: How often a request is sent again that met no server, one that broke off, or a busy one.

    Raises:
        InvalidValue: `url` is no such address, or a number is out of range.

    Example:
        >>> with connect("grpc://localhost:8500/digits") as client:
        ...     client.address.model
        'digits'
    """
    if not isinstance(timeout_s, int | float) or not timeout_s > 0:
        raise InvalidValue(f"`timeout_s` needs a number of seconds above 0; got {timeout_s}.")
    if retries < 0:
        raise InvalidValue(f"`retries` needs a whole number of at least 0; got {retries}.")
    return ServingClient(parse_address(url), timeout_s=timeout_s, retries=retries)


class ServingClient:
    """A model on a server; `connect` makes one.

    Use it as a context manager, or `close` it. Over gRPC threads may share it; over REST each needs its own.
    """

    def __init__(self, address: Address, *, timeout_s: float, retries: int) -> None:
        """Chooses the protocol."""
        self.address = address
        self.timeout_s = timeout_s
        self.retries = retries
        self._transport = _open_transport(address)

    @cached_property
    def signatures(self) -> dict[str, Signature]:
        """The model's signatures by name, asked once.

        Raises:
            ServerError: the server is down, slow, serves another model, or answers nonsense.
        """
        signatures: dict[str, Signature] = self._ask(self._transport.signatures)
        return signatures

    def status(self) -> list[VersionStatus]:
        """The model's versions and what the server does with each, the newest first.

        Raises:
            ServerError: the server is down, slow, serves another model, or answers nonsense.
        """
        return sorted(self._ask(self._transport.status), key=lambda status: -status.version)

    def signature(self, name: str) -> Signature:
        """One of the signatures.

        Raises:
            InvalidValue: the model has no such signature.
        """
        if name not in self.signatures:
            known = ", ".join(f"`{known}`" for known in sorted(self.signatures))
            raise InvalidValue(
                f"`{self.address.url}` has no signature `{name}`; it has {known}.{nearest(name, self.signatures)}"
            )
        return self.signatures[name]

    def predict(self, inputs: Any, *, signature: str = SERVING_DEFAULT) -> dict[str, np.ndarray]:
        """The outputs by name, for any number of examples.

        Args:
            inputs: An array or nested lists, the first axis being examples, where the signature takes a single input;
                a dict of these by name, or a pandas frame, otherwise. They become exactly the types that the signature
                takes. In the signature `columns` NaN stands for a missing number.
            signature: Name of the signature.

        Returns:
            Numbers as the signature promises; strings as NumPy texts, or bytes for outputs called `..._bytes`.

        Raises:
            InvalidType, InvalidValue: there is no such signature, or `inputs` do not fit it: names, shapes, kinds,
                values that are not finite, whole or in range. Also what the server itself finds wrong with them.
            ServerError: the server is down, slow, serves another model, or answers nonsense.
        """
        spec = self.signature(signature)
        arrays = self._fitting(inputs, signature, spec)
        num_rows = {len(array) for name, array in arrays.items() if spec.inputs[name].shape[:1] == (None,)}
        if len(num_rows) > 1:
            sizes = ", ".join(f"`{name}` {len(array)}" for name, array in arrays.items())
            raise InvalidValue(f"All inputs need the same number of examples; got {sizes}.")
        if not num_rows:
            return self._predict_once(signature, spec, arrays, None)
        (rows,) = num_rows
        if rows == 0:  # which the server refuses
            return {name: _nothing(output) for name, output in spec.outputs.items()}
        per_row = sum(self._transport.bytes_per_row(array) for array in arrays.values())
        step = max(1, min(MOST_ROWS, MOST_BYTES // max(per_row, 1)))
        parts = []
        for start in range(0, rows, step):
            part = {name: array[start : start + step] for name, array in arrays.items()}
            parts.append(self._predict_once(signature, spec, part, min(step, rows - start)))
        return {name: np.concatenate([part[name] for part in parts]) for name in spec.outputs}

    def probabilities(self, inputs: Any, *, signature: str = SERVING_DEFAULT) -> np.ndarray:
        """The probability of each class for each example, float32 `(examples, classes)`; arguments as in `predict`.

        Raises:
            InvalidType, InvalidValue, ServerError: as `predict`; also where the answers are no probabilities.
        """
        return self.checked_probabilities(self.predict(inputs, signature=signature))

    def checked_probabilities(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The output `probabilities`, where it is there and its rows add up to 1.

        Raises:
            ServerError: it is not.
        """
        if PROBABILITIES not in outputs:
            raise unfit(self.address, f"{', '.join(f'`{name}`' for name in outputs)} and no `{PROBABILITIES}`")
        probabilities = outputs[PROBABILITIES]
        if probabilities.ndim != 2 or probabilities.dtype.kind != "f":
            raise unfit(self.address, f"`{PROBABILITIES}` of shape {probabilities.shape}, {probabilities.dtype}")
        sums = probabilities.sum(axis=1)
        in_range = (probabilities >= 0).all(axis=1) & (probabilities <= 1 + SUM_TOLERANCE).all(axis=1)
        wrong = ~(in_range & (np.abs(sums - 1) <= SUM_TOLERANCE))
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise unfit(
                self.address, f"numbers that are no probabilities: those of example {row + 1} add up to {sums[row]:.4g}"
            )
        return probabilities

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()

    def __enter__(self) -> ServingClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, question: Any) -> Any:
        return with_patience(question, self.address, timeout_s=self.timeout_s, retries=self.retries)

    def _fitting(self, inputs: Any, name: str, signature: Signature) -> dict[str, np.ndarray]:
        if hasattr(inputs, "to_dict") and hasattr(inputs, "columns"):  # a frame
            inputs = {str(column): inputs[column].to_numpy() for column in inputs.columns}
        if not isinstance(inputs, Mapping):
            if len(signature.inputs) != 1:
                raise InvalidType(
                    f"The signature `{name}` takes a dict of its inputs {', '.join(signature.inputs)}; got "
                    f"{type(inputs).__name__}."
                )
            inputs = {next(iter(signature.inputs)): inputs}
        if inputs.keys() != signature.inputs.keys():
            missing = [known for known in signature.inputs if known not in inputs]
            unknown = [given for given in inputs if given not in signature.inputs]
            problems = [f"without {', '.join(missing)}"] * bool(missing) + [f"with {', '.join(unknown)}"] * bool(
                unknown
            )
            others = [other for other, known in self.signatures.items() if inputs.keys() == known.inputs.keys()]
            hint = f" The signature `{others[0]}` takes these." if others else ""
            got = f"got inputs {' and '.join(problems)}.{hint}"
            raise InvalidValue(f"The signature `{name}` takes {', '.join(signature.inputs)}; {got}")
        return {
            key: as_input(inputs[key], spec, key, may_lack=name == COLUMNS) for key, spec in signature.inputs.items()
        }

    def _predict_once(
        self, name: str, signature: Signature, inputs: dict[str, np.ndarray], rows: int | None
    ) -> dict[str, np.ndarray]:
        outputs = self._ask(lambda timeout_s: self._transport.predict(name, signature, inputs, timeout_s))
        return {key: self._checked(key, outputs, spec, rows) for key, spec in signature.outputs.items()}

    def _checked(self, name: str, outputs: dict[str, np.ndarray], spec: TensorSpec, rows: int | None) -> np.ndarray:
        """An output as its signature promises it."""
        if name not in outputs:
            raise unfit(self.address, f"without the output `{name}` of its signature")
        array = outputs[name]
        expected = spec if rows is None else TensorSpec(spec.dtype, (rows, *spec.shape[1:]))
        is_string = array.dtype == object
        if not expected.fits(array.shape) or (spec.dtype == STRING) != is_string:
            raise unfit(self.address, f"`{name}` of shape {array.shape}, {array.dtype}, where {expected} was promised")
        if not is_string:
            return array.astype(spec.dtype, copy=False)
        if name.endswith("_bytes"):
            return array
        try:
            return np.array([value.decode() for value in array.ravel()], str).reshape(array.shape)
        except UnicodeDecodeError as error:
            raise unfit(self.address, f"texts in `{name}` that are no UTF-8 ({error})") from error


def _open_transport(address: Address) -> Transport:
    if address.protocol == REST:
        from kerasmlp.client.over_rest import RestTransport

        return RestTransport(address)
    from kerasmlp.client.over_grpc import GrpcTransport  # a fifth of a second

    return GrpcTransport(address)


def _nothing(spec: TensorSpec) -> np.ndarray:
    shape = tuple(0 if axis is None else axis for axis in spec.shape)
    return np.zeros(shape, str if spec.dtype == STRING else spec.dtype)
