"""`SavedModelSession`: a SavedModel in a TensorFlow session, without Keras, as TF Serving runs it."""

from __future__ import annotations

import importlib.abc
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from kerasmlp._system.library_output import hidden_library_output
from kerasmlp.client.message_conversion import read_prediction_log
from kerasmlp.client.model_signature import Signature, TensorSpec
from kerasmlp.client.tensor_types import DTYPE_OF_NUMBER
from kerasmlp.contract import EXTRA_FOLDER, WARM_UP_NAME
from kerasmlp.errors import InvalidValue
from kerasmlp.serving.loaded_model import check_inputs, find_signature
from kerasmlp.serving.refusals import FAILED_PRECONDITION, INTERNAL, INVALID_ARGUMENT, UNIMPLEMENTED, Failure

_CODES = {3: INVALID_ARGUMENT, 9: FAILED_PRECONDITION, 12: UNIMPLEMENTED}
_importing = threading.Lock()


class SavedModelSession:
    """A SavedModel whose signatures run in one session. Their graphs check the shapes and values of requests."""

    platform = "tensorflow_savedmodel"

    def __init__(self, path: Path) -> None:
        """Loads the SavedModel in the folder `path`, and runs its warm-up requests.

        Raises:
            InvalidValue: the folder cannot be loaded, or a warm-up request fails.
        """
        tf = _import_tensorflow()
        try:
            graph = tf.Graph()
            self._session = tf.compat.v1.Session(graph=graph)
            with graph.as_default(), hidden_library_output():  # TensorFlow warns that its loader for servers is old
                meta = tf.compat.v1.saved_model.loader.load(self._session, ["serve"], str(path))
            definitions = {name: d for name, d in meta.signature_def.items() if d.inputs and d.outputs}
            self.signatures = {name: _signature(definition) for name, definition in definitions.items()}
            self._callables = {name: self._callable(definition) for name, definition in definitions.items()}
        except (OSError, ValueError, RuntimeError, KeyError, tf.errors.OpError) as error:
            said = (str(error) or type(error).__name__).splitlines()[0]
            raise InvalidValue(f"`{path}` cannot be loaded as a SavedModel: {said}") from error
        if not self.signatures:
            raise InvalidValue(f"`{path}` is a SavedModel without signatures that take inputs and answer outputs.")
        self._errors = tf.errors.OpError
        self._warm_up(path)

    def run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs of a signature."""
        definition = find_signature(self, signature)
        check_inputs(definition, inputs)
        try:
            values = self._callables[signature](*(inputs[name] for name in sorted(definition.inputs)))
        except self._errors as error:
            message = error.message.removeprefix("Graph execution error:\n\n")
            raise Failure(_CODES.get(error.error_code, INTERNAL), message) from error
        return dict(zip(sorted(definition.outputs), map(np.asarray, values), strict=True))

    def is_quick(self, signature: str, num_examples: int) -> bool:
        """Returns False: a session hands its work to threads of its own and waits for them."""
        return False

    def _callable(self, definition: Any) -> Any:
        """Returns a function of the inputs in the order of their names. Unlike `Session.run`, it checks no shapes."""
        from tensorflow.core.protobuf import config_pb2

        options = config_pb2.CallableOptions(
            feed=[definition.inputs[name].name for name in sorted(definition.inputs)],
            fetch=[definition.outputs[name].name for name in sorted(definition.outputs)],
        )
        return self._session._make_callable_from_options(options)

    def _warm_up(self, path: Path) -> None:
        file = path / EXTRA_FOLDER / WARM_UP_NAME
        if not file.is_file():
            return
        import tensorflow as tf

        try:
            with hidden_library_output():  # TensorFlow warns that this reader is old; the new one needs eager execution
                for record in tf.compat.v1.io.tf_record_iterator(str(file)):
                    request = read_prediction_log(record)
                    self.run(request.signature, request.inputs)
        except (Failure, ValueError, tf.errors.OpError) as error:
            raise InvalidValue(f"`{path}` fails one of its warm-up requests: {str(error).splitlines()[0]}") from error


def _signature(definition: Any) -> Signature:
    def read(tensors: Any) -> dict[str, TensorSpec]:
        return {
            name: TensorSpec(
                DTYPE_OF_NUMBER[tensors[name].dtype],
                tuple(None if dim.size < 0 else dim.size for dim in tensors[name].tensor_shape.dim),
            )
            for name in sorted(tensors)
        }

    return Signature(read(definition.inputs), read(definition.outputs))


class _Absent(ModuleNotFoundError, ValueError):
    """What TensorFlow takes for a missing package: a ValueError where it looks for Keras, an ImportError elsewhere."""


class _NoKeras(importlib.abc.MetaPathFinder):
    """Makes the import of Keras fail in one thread. Others, such as those of a program with a server, can import it."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "keras" and threading.get_ident() == self._thread:
            raise _Absent("No module named 'keras'", name=name)


def _import_tensorflow() -> Any:
    """Imports TensorFlow without Keras, which it would import too, and which takes as long as TensorFlow itself."""
    with _importing:
        finder = _NoKeras()
        if "tensorflow" not in sys.modules and "keras" not in sys.modules:
            sys.meta_path.insert(0, finder)
        try:
            import tensorflow as tf
        finally:
            if finder in sys.meta_path:
                sys.meta_path.remove(finder)
    return tf
