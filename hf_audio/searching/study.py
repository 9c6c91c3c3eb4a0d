"""The trials of a search, stored by Optuna. Only this module uses Optuna."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hf_audio.errors import InputError, one_line
from hf_audio.files import MAX_TABLE_BYTES, open_for_writing, read_whole
from hf_audio.searching.samplers import an_untried, check_sampler, proposed, pruner_of, sampler_of
from hf_audio.searching.space import Choice, Params, Range, Space
from hf_audio.searching.trials import LOST, REASON, REPEATS, Trial

LOCK_GRACE_S = 15  # a journal lock that is older belongs to a killed process, and is released
DRAWING_S = 3.0  # maximum time in which another process draws the settings of a trial
MAX_REPEATS = 5  # repeated draws of tried combinations before one is drawn at random


class Study:
    """The stored trials of one search, which several processes on several machines may share.

    Args:
        storage: a journal file, or the URL of a database.
        name: name of the search in the storage.
        space: the search space.
        maximized: whether more is better, per objective.
        sampler, pruner: see SAMPLERS and PRUNERS; "halving" prunes by successive halving.
        seed: of the sampler.
        population: of NSGA-II.
        resources: progress of a trial, e.g. epochs, before it may be pruned, and at its end.

    Raises:
        InputError: Optuna is missing, the storage cannot be read, or the sampler does not fit the space.
    """

    def __init__(
        self,
        storage: str,
        name: str,
        space: Space,
        maximized: Sequence[bool],
        *,
        sampler: str = "tpe",
        pruner: str = "none",
        seed: int = 0,
        population: int = 50,
        resources: tuple[int, int] = (1, 1),
    ) -> None:
        self.space, self.maximized, self._seed = space, tuple(maximized), seed
        self._sampler_name, self._population, self._half_drawn = sampler, population, set[int]()
        check_sampler(sampler, space, len(self.maximized))
        optuna = _optuna()
        self._storage = _opened(storage)
        directions = ["maximize" if more else "minimize" for more in self.maximized]
        try:
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=name,
                directions=directions,
                load_if_exists=True,
                pruner=pruner_of(optuna, pruner, *resources),
            )
        except Exception as error:  # database drivers raise errors of any type
            raise InputError(f"The study {name!r} cannot be opened: {one_line(error)}") from error
        found = [direction.name.lower() for direction in self._study.directions]
        if found != directions:
            raise InputError(
                f"The study {name!r} has the objectives {' and '.join(found)}, but this search "
                f"{' and '.join(directions)}: give another --study"
            )

    # Stored facts.

    def trials(self) -> list[Trial]:
        """All trials, by number."""
        return [_as_trial(one) for one in self._study.get_trials(deepcopy=False)]

    @property
    def facts(self) -> dict[str, Any]:
        """Facts about the whole search."""
        return dict(self._study.user_attrs)

    def note(self, name: str, value: Any) -> None:
        """Adds a fact about the whole search."""
        self._study.set_user_attr(name, value)

    def note_of_trial(self, number: int, name: str, value: Any) -> None:
        """Adds a fact about a trial."""
        self._storage.set_trial_user_attr(self._id_of(number), name, value)

    # Drawing and finishing trials.

    def ask(self) -> Trial | None:
        """Draws the next trial, which then is running; None if all combinations of the space were tried.

        No combination is tried twice: if the sampler draws a tried one, an untried one replaces it.
        """
        number_of_draws = 0
        while True:
            number_of_draws += 1
            known = self.trials()
            untried = an_untried(self.space, known, len(known)) if self.space.size is not None else None
            is_queued = any(one.state == "waiting" for one in known)
            if self.space.size is not None and untried is None and not is_queued:
                return None
            if not is_queued:
                self._queue(proposed(self._sampler_name, self.space, known, self.maximized[0], self._seed))
            asked = self._asked(len(known), "random" if number_of_draws > MAX_REPEATS else self._sampler_name)
            equal = next((one for one in self._drawn(asked.number) if one.is_tried and one.key == asked.key), None)
            if equal is None:
                return asked
            self.note_of_trial(asked.number, REPEATS, equal.number)
            self.fail(asked.number, f"same as trial {equal.number}")
            self._queue(untried)

    def _asked(self, num_trials: int, sampler: str) -> Trial:
        how = {"seed": self._seed, "num_trials": num_trials, "population": self._population}
        self._study.sampler = sampler_of(_optuna(), sampler, self.space, **how)
        asked = self._study.ask()
        self.space.draw(lambda one: _suggest(asked, one))
        return self.trials()[asked.number]

    def _drawn(self, number: int) -> list[Trial]:
        """The trials before this one, after waiting for those whose settings other processes are still drawing."""
        waits_until_s = time.monotonic() + DRAWING_S
        while True:
            before = self.trials()[:number]
            half = {one.number for one in before if one.state == "running" and not self.space.is_drawn(one.params)}
            if half <= self._half_drawn:
                return before
            if time.monotonic() > waits_until_s:
                self._half_drawn |= half  # their processes were killed
            time.sleep(0.05)

    def _queue(self, params: Params | None) -> None:
        """Queues a combination as the next trial."""
        if params is not None:
            self._study.enqueue_trial(params)

    def report(self, number: int, step: int, score: float) -> bool:
        """Stores a score of an unfinished trial; returns whether the trial should be pruned."""
        trial_id = self._id_of(number)
        self._storage.set_trial_intermediate_value(trial_id, step, score)
        return self._study.pruner.prune(self._study, self._storage.get_trial(trial_id))

    def complete(self, number: int, values: Sequence[float]) -> None:
        """Ends a trial with its values, one per objective."""
        self._tell(number, values=list(values))

    def prune(self, number: int) -> None:
        """Ends a trial because of its scores so far."""
        self._tell(number, state=_optuna().trial.TrialState.PRUNED)

    def fail(self, number: int, reason: str) -> None:
        """Ends a trial that failed."""
        self.note_of_trial(number, REASON, reason)
        self._tell(number, state=_optuna().trial.TrialState.FAIL)

    def again(self, trial: Trial) -> None:
        """Queues the settings of a lost trial again."""
        self.discard(trial, "no heartbeat from its machine")
        self._queue(trial.params)

    def discard(self, trial: Trial, reason: str) -> None:
        """Ends a trial that must not count."""
        self.note_of_trial(trial.number, LOST, True)
        self.fail(trial.number, reason)

    def importances(self, objective: int = 0) -> dict[str, float]:
        """The importance of each dimension for an objective, by PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255).

        Importances sum to 1, the most important first; empty with fewer than 4 complete trials.
        """
        optuna = _optuna()
        complete = [one for one in self._study.get_trials(deepcopy=False) if one.state.name == "COMPLETE"]
        if len(complete) < 4:
            return {}
        sign = -1.0 if self.maximized[objective] else 1.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna.importance.get_param_importances(
                self._study,
                evaluator=optuna.importance.PedAnovaImportanceEvaluator(target_quantile=max(0.1, 2 / len(complete))),
                target=lambda one: sign * one.values[objective],
            )
        return {name: float(value) for name, value in found.items()}

    def _id_of(self, number: int) -> int:
        study_id = self._storage.get_study_id_from_name(self._study.study_name)
        return self._storage.get_trial_id_from_study_id_trial_number(study_id, number)

    def _tell(self, number: int, **told: Any) -> None:
        """Ends a trial, unless another process already did because it considered this process lost."""
        self._study.sampler = _optuna().samplers.RandomSampler()  # a grid sampler would try to stop Optuna's own loop
        with contextlib.suppress(_optuna().exceptions.UpdateFinishedTrialError):
            self._study.tell(number, skip_if_finished=True, **told)


def _optuna() -> Any:
    """The library, with its log messages and warnings off."""
    try:
        import optuna
    except ImportError:
        raise InputError('A search needs Optuna: pip install "hf_audio[search]"') from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def _opened(storage: str) -> Any:
    """The storage of a journal file or a database."""
    storages = _optuna().storages
    if "://" in storage:
        try:
            return storages.RDBStorage(storage)
        except Exception as error:  # database drivers raise errors of any type; the address may contain a password
            kind = storage.partition("://")[0]
            raise InputError(f"--storage {kind}://... cannot be opened: {type(error).__name__}") from None
    path = Path(storage)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = storages.journal.JournalFileSymlinkLock(str(path), grace_period=LOCK_GRACE_S)
    _repair(path, lock)
    try:
        return storages.JournalStorage(storages.journal.JournalFileBackend(str(path), lock))
    except (ValueError, KeyError, AssertionError, TypeError) as error:
        raise InputError(
            f"{path} is not the journal of a search ({one_line(error)}): give another --storage"
        ) from error


def _repair(path: Path, lock: Any) -> None:
    """Removes an incomplete last line, left by a process that was killed: the next line would be appended to it."""
    if not path.exists() or path.stat().st_size == 0:
        return
    lock.acquire()
    try:
        content = read_whole(path, MAX_TABLE_BYTES)
        if not content.endswith(b"\n"):
            with open_for_writing(path, "r+b") as file:
                file.truncate(content.rfind(b"\n") + 1)
    finally:
        lock.release()


def _suggest(asked: Any, dimension: Choice | Range) -> Any:
    if isinstance(dimension, Choice):
        return asked.suggest_categorical(dimension.name, list(dimension.keys))
    suggest: Callable[..., Any] = asked.suggest_int if dimension.is_whole else asked.suggest_float
    step = {"step": dimension.step} if dimension.step else {}
    return suggest(dimension.name, dimension.low, dimension.high, log=dimension.log, **step)


def _as_trial(stored: Any) -> Trial:
    begun, ended = stored.datetime_start, stored.datetime_complete
    states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}
    return Trial(
        number=stored.number,
        state=states[stored.state.name],
        values=tuple(stored.values or ()),
        params=dict(stored.params),
        steps=dict(stored.intermediate_values),
        begun=begun and begun.isoformat(timespec="seconds"),
        duration_s=(ended - begun).total_seconds() if begun and ended else None,
        facts=dict(stored.user_attrs),
    )
