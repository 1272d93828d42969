"""`ServedModels`: the models of a server and their versions. It notices new versions and swaps them in."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kerasmlp.client.model_signature import VersionStatus
from kerasmlp.errors import InvalidValue, KerasMLPWarning, nearest
from kerasmlp.serving.loaded_model import LoadedModel
from kerasmlp.serving.metrics import Metrics
from kerasmlp.serving.model_sources import ModelSource, fingerprint, load_version
from kerasmlp.serving.refusals import NOT_FOUND, Failure, invalid

AVAILABLE, LOADING, END = "AVAILABLE", "LOADING", "END"

_log = logging.getLogger("kerasmlp.serving")


@dataclass(frozen=True)
class _Failed:
    """A version that did not load, and what its files were then."""

    message: str
    files: tuple[int, ...]


@dataclass(frozen=True)
class _Loaded:
    """A version that serves, and what its files were when it was loaded."""

    model: LoadedModel
    files: tuple[int, ...]


class ServedModels:
    """The models of a server. Reading needs no lock: a swap replaces a dictionary, and never changes one.

    The newest version of each model is served, and those that have a label. A version that does not load is reported
    in the status, while the one before it keeps serving. A version is loaded again when its files change.
    """

    def __init__(self, sources: Sequence[ModelSource], metrics: Metrics, labels: Mapping[str, int]) -> None:
        """Loads every model.

        Args:
            sources: The models.
            metrics: Where loads are counted.
            labels: Numbers of versions by label.

        Raises:
            InvalidValue: two models have the same name, a model has no version that loads, or none has a version with
                the number of a label.

        Warns:
            KerasMLPWarning: some of the models do not have a version with the number of a label.
        """
        self.sources = {source.name: source for source in sources}
        if len(self.sources) < len(sources):
            names = [source.name for source in sources]
            double = next(name for name in names if names.count(name) > 1)
            raise InvalidValue(f"Two models have the name `{double}`. Name one of them: `NAME=PATH`.")
        self._metrics, self._labels = metrics, dict(labels)
        self._versions: dict[str, dict[int, _Loaded]] = {name: {} for name in self.sources}
        self._failed: dict[str, dict[int, _Failed]] = {name: {} for name in self.sources}
        self._loading: dict[str, int | None] = dict.fromkeys(self.sources)
        for name in self.sources:
            self._look(name)
            if not self._versions[name]:
                failed = next(iter(self._failed[name].values()), None)
                raise InvalidValue(
                    failed.message if failed else f"`{self.sources[name].path}` has no version to serve."
                )

        for label, number in self._labels.items():
            self._check_label(label, number)

    def _check_label(self, label: str, number: int) -> None:
        missing = [name for name, versions in self._versions.items() if number not in versions]
        found = "; ".join(
            f"`{name}` has {', '.join(map(str, sorted(self.sources[name].versions())))}"
            + (f" ({self._failed[name][number].message})" if number in self._failed[name] else "")
            for name in missing
        )
        sentence = f"`labels`: `{label}` needs version {number}, which cannot be served: {found}."
        if len(missing) == len(self.sources):
            raise InvalidValue(sentence)
        if missing:
            warnings.warn(sentence, KerasMLPWarning, stacklevel=2)

    def find(self, name: str, version: int | None = None, label: str | None = None) -> tuple[int, LoadedModel]:
        """Returns the number and the version that a request asks for; without `version` and `label` the newest.

        Raises:
            Failure: it is not served.
        """
        versions = self._versions.get(name)
        if versions is None:
            hint = nearest(name, self.sources)
            raise Failure(NOT_FOUND, f"Servable not found for request: Latest({name}){hint}")
        if label is not None:
            if label not in self._labels:
                raise invalid(f"Unrecognized servable version label: {label}")
            version = self._labels[label]
        number = max(versions) if version is None else version
        if number not in versions:
            raise Failure(NOT_FOUND, f"Servable not found for request: Specific({name}, {version})")
        return number, versions[number].model

    def status(self, name: str, version: int | None = None, label: str | None = None) -> list[VersionStatus]:
        """Returns the state of each version, the newest first.

        Raises:
            Failure: there is no such model or version.
        """
        if label is not None:
            version = self.find(name, None, label)[0]
        states = {number: VersionStatus(number, AVAILABLE) for number in self._versions.get(name, {})}
        failed = self._failed.get(name, {})
        for number, failure in failed.items():  # a version whose new files do not load goes on serving the old ones
            states[number] = VersionStatus(number, AVAILABLE if number in states else END, failure.message)
        loading = self._loading.get(name)
        if loading is not None and loading not in states:
            states[loading] = VersionStatus(loading, LOADING)
        found = [states[number] for number in sorted(states, reverse=True) if version in (None, number)]
        if not found:
            which = "any versions" if version is None else f"version {version}"
            raise Failure(NOT_FOUND, f"Could not find {which} of model {name}")
        return found

    def numbers(self, name: str) -> list[int]:
        """Returns the numbers of the versions that are served, in order."""
        return sorted(self._versions.get(name, {}))

    def look_for_versions(self, ended: threading.Event, every_s: float) -> None:
        """Looks for new versions until `ended` is set."""
        while not ended.wait(every_s):
            for name in self.sources:
                self._look(name)

    def _look(self, name: str) -> None:
        """Loads what is new, and lets go of what is old. If no version is there any more, the last one stays."""
        there = self.sources[name].versions()
        if not there:
            return
        self._failed[name] = {number: failed for number, failed in self._failed[name].items() if number in there}
        newest = max(there)
        self._try_to_load(name, newest, there[newest])
        served = dict(self._versions[name])
        if newest not in served and not any(number in there for number in served):
            # The newest version is broken and what served is gone, or nothing has been served yet.
            for number in sorted(set(there) - {newest}, reverse=True):
                if self._try_to_load(name, number, there[number]):
                    newest = number
                    break
        wanted = {newest, *self._labels.values()}
        for number in wanted - {newest}:
            if number in there:
                self._try_to_load(name, number, there[number])
        loaded = self._versions[name]
        if newest in loaded and loaded.keys() - wanted:
            self._versions[name] = {number: loaded[number] for number in loaded if number in wanted}

    def _try_to_load(self, name: str, number: int, path: Path) -> bool:
        """Loads a version if its files are new. Returns whether it serves, be it from its new files or the old ones."""
        loaded, failed = self._versions[name].get(number), self._failed[name].get(number)
        files = fingerprint(path)
        if not files and loaded is not None:
            return True
        if (loaded is not None and loaded.files == files) or (failed is not None and failed.files == files):
            return loaded is not None
        self._loading[name] = number
        began = time.perf_counter()
        try:
            model = load_version(path)
        except Exception as error:  # whatever a damaged version causes, the version before it goes on serving
            message = (str(error) or type(error).__name__).splitlines()[0]
            self._failed[name] = {**self._failed[name], number: _Failed(message, files)}
            _log.warning("%s: version %d cannot be loaded: %s", name, number, message)
            self._metrics.count_load(path, "fail", time.perf_counter() - began)
            return loaded is not None
        finally:
            self._loading[name] = None
        self._metrics.count_load(path, "success", time.perf_counter() - began)
        self._failed[name] = {other: f for other, f in self._failed[name].items() if other != number}
        self._versions[name] = {**self._versions[name], number: _Loaded(model, files)}
        _log.info("%s: version %d is loaded", name, number)
        return True
