"""The only module that uses what Keras Tuner (1.4) does not document. Each use states its reason.

`tests/tuning/test_tuner_internals.py` fails if a new version of Keras Tuner moves or changes one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_tuner

from kerasmlp._system.files import write_json

MAX_COLLISIONS = 10_000

# --- oracles --------------------------------------------------------------------------------------------------------


class OracleBase(keras_tuner.Oracle):
    """An oracle with public names for the parts of Keras Tuner's oracle that this package needs.

    Keras Tuner sets and uses the attributes below itself, without documenting them. They are declared here because
    taking a trial from a worker, and continuing a search, change them.

    Attributes:
        trials: All trials that were ever created, by id.
        ongoing_trials: The trial of each worker, by name of the worker.
        start_order: Ids of the trials in the order in which they began.
        end_order: Ids of the trials in the order in which they ended.
        tuner_ids: Names of the workers that have asked for a trial and were not told to end.
    """

    trials: dict[str, Any]
    ongoing_trials: dict[str, Any]
    start_order: list[str]
    end_order: list[str]
    tuner_ids: set[str]
    _retry_queue: list[str]

    def __init__(self, **options: Any) -> None:
        """Passes `options` on to the oracle of Keras Tuner."""
        super().__init__(**options)
        # Random search ends after this many random draws in a row that were tried before. With Keras Tuner's own 20, a
        # search of a small space ends long before every combination was tried.
        self._max_collisions = MAX_COLLISIONS

    @property
    def waiting(self) -> list[str]:
        """Ids of trials that wait for a worker. `create_trial` gives them out before any new trial."""
        return self._retry_queue

    @waiting.setter
    def waiting(self, trial_ids: list[str]) -> None:
        # Keras Tuner fills its queue only with trials whose results were invalid. Trials of lost workers belong there
        # too.
        self._retry_queue = trial_ids

    def set_folder(self, folder: Path) -> None:
        """Sets the folder of the state. Keras Tuner's tuners do this, but a chief has no tuner."""
        self._set_project_dir(str(folder.parent), folder.name)

    def state_path(self) -> Path:
        """Returns the path of the oracle's state, which `reload` reads."""
        return Path(self._get_oracle_fname())

    def trial_folder(self, trial_id: str) -> Path:
        """Returns the folder of one trial and creates it if necessary."""
        return Path(self._get_trial_dir(trial_id))

    def _save_trial(self, trial: Any) -> None:
        # Keras Tuner's own writes in place, so that a process that is killed leaves half a file.
        write_json(self.trial_folder(trial.trial_id) / "trial.json", trial.get_state())


# --- tuners ---------------------------------------------------------------------------------------------------------


class TunerBase(keras_tuner.Tuner):
    """A tuner whose subclass decides what happens when a trial raises an exception."""

    def attempt(self, trial: Any) -> None:
        """Runs the trial and sets its status and message."""
        raise NotImplementedError

    def _try_run_and_update_trial(self, trial: Any, *fit_args: Any, **fit_kwargs: Any) -> None:
        # Keras Tuner's own writes a whole traceback into the message, which the messages between processes drop, and
        # warns about trials that report their epochs one by one.
        self.attempt(trial)


# --- chief and workers ----------------------------------------------------------------------------------------------


def worker_variables(name: str, host: str, port: int) -> dict[str, str]:
    """Returns the environment variables that make a tuner a worker of the chief at `host:port`."""
    return {
        # Keras Tuner takes any process for the chief that has the word `chief` in its name.
        "KERASTUNER_TUNER_ID": name.replace("chief", "c"),
        "KERASTUNER_ORACLE_IP": host,
        "KERASTUNER_ORACLE_PORT": str(port),
    }


def set_client_timeout(seconds: float) -> None:
    """Sets how long a worker waits for an answer of its chief; Keras Tuner has no option for its hour."""
    from keras_tuner.src.distribute import oracle_client

    oracle_client.TIMEOUT = seconds


def serve_oracle(
    oracle: keras_tuner.Oracle, server: Any, *, on_worker: Callable[[str], None], on_trial: Callable[[str], None]
) -> Any:
    """Adds Keras Tuner's service for workers to a gRPC server.

    Keras Tuner's own `start_server` cannot choose a free port, waits up to 20 seconds at the end, and does not notice
    when a worker is gone.

    Args:
        oracle: The oracle that answers.
        server: The gRPC server, not yet started.
        on_worker: Is called with the name of a worker that asks for a trial.
        on_trial: Is called with the id of a trial whose worker reports something or asks for it.

    Returns:
        The service. Its attribute `stop_triggered` becomes True when the oracle has no further trial for a worker.
    """
    # Imported late, as Keras Tuner does.
    from keras_tuner.src import protos
    from keras_tuner.src.distribute.oracle_chief import OracleServicer

    class Servicer(OracleServicer):
        """Keras Tuner's service, which in addition tells that a worker is alive."""

        def CreateTrial(self, request: Any, context: Any) -> Any:  # noqa: N802 (the service's own name)
            on_worker(request.tuner_id)
            return super().CreateTrial(request, context)

        def UpdateTrial(self, request: Any, context: Any) -> Any:  # noqa: N802 (the service's own name)
            on_trial(request.trial_id)
            return super().UpdateTrial(request, context)

        def GetTrial(self, request: Any, context: Any) -> Any:  # noqa: N802 (the service's own name)
            on_trial(request.trial_id)
            return super().GetTrial(request, context)

    servicer = Servicer(oracle)
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    return servicer
