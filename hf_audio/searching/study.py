"""Trials as Optuna stores them. This is the only module that talks to Optuna."""

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

LOCK_GRACE_S = 15  # after which the journal's lock of a process that was killed is taken from it
DRAWING_S = 3.0  # that another process has for drawing what a trial needs
MAX_REPEATS = 5  # draws of what was tried, after which one is drawn at random


class Study:
    """The stored trials of one search, which several processes on several machines may share.

    Args:
        storage: a journal file, or the URL of a database.
        name: of the search in it.
        space: what is searched.
        maximized: of each objective, whether more is better.
        sampler, pruner: see SAMPLERS and PRUNERS; "halving" prunes by successive halving.
        seed: of the sampler.
        population: of NSGA-II.
        resources: how far trials go at most, e.g. epochs, and where halving begins.

    Raises:
        InputError: Optuna is missing, the storage cannot be read, or a sampler that does not fit the space.
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
        except Exception as error:  # of a database, whatever its driver raises
            raise InputError(f"The study {name!r} cannot be opened: {one_line(error)}") from error
        found = [direction.name.lower() for direction in self._study.directions]
        if found != directions:
            raise InputError(
                f"The study {name!r} is to {' and '.join(found)}, and this search to {' and '.join(directions)}: give "
                "another --study"
            )

    # What is known.

    def trials(self) -> list[Trial]:
        """All of them, by their numbers."""
        return [_as_trial(one) for one in self._study.get_trials(deepcopy=False)]

    @property
    def facts(self) -> dict[str, Any]:
        """What is known of the whole search."""
        return dict(self._study.user_attrs)

    def note(self, name: str, value: Any) -> None:
        """Adds a fact of the whole search."""
        self._study.set_user_attr(name, value)

    def note_of_trial(self, number: int, name: str, value: Any) -> None:
        """Adds a fact of a trial."""
        self._storage.set_trial_user_attr(self._id_of(number), name, value)

    # A trial's way.

    def ask(self) -> Trial | None:
        """Draws the next trial, which then is running; None where every combination of the space was tried.

        No combination is tried twice: where the sampler draws one again, one that was not is taken in its place.
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
            self.fail(asked.number, f"trial {equal.number} is the same")
            self._queue(untried)

    def _asked(self, num_trials: int, sampler: str) -> Trial:
        how = {"seed": self._seed, "num_trials": num_trials, "population": self._population}
        self._study.sampler = sampler_of(_optuna(), sampler, self.space, **how)
        asked = self._study.ask()
        self.space.draw(lambda one: _suggest(asked, one))
        return self.trials()[asked.number]

    def _drawn(self, number: int) -> list[Trial]:
        """The trials before one, as soon as those that other processes begin right now have drawn all."""
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
        """Lets the next that asks try a combination."""
        if params is not None:
            self._study.enqueue_trial(params)

    def report(self, number: int, step: int, score: float) -> bool:
        """Notes a score of a trial that is not finished; whether it should be ended."""
        trial_id = self._id_of(number)
        self._storage.set_trial_intermediate_value(trial_id, step, score)
        return self._study.pruner.prune(self._study, self._storage.get_trial(trial_id))

    def complete(self, number: int, values: Sequence[float]) -> None:
        """Ends a trial with its values, one for each objective."""
        self._tell(number, values=list(values))

    def prune(self, number: int) -> None:
        """Ends a trial by its scores so far."""
        self._tell(number, state=_optuna().trial.TrialState.PRUNED)

    def fail(self, number: int, reason: str) -> None:
        """Ends a trial that has none."""
        self.note_of_trial(number, REASON, reason)
        self._tell(number, state=_optuna().trial.TrialState.FAIL)

    def again(self, trial: Trial) -> None:
        """Lets the next that asks try what a lost trial did not finish."""
        self.discard(trial, "its machine has not been heard of")
        self._queue(trial.params)

    def discard(self, trial: Trial, reason: str) -> None:
        """Ends a trial that is not to count."""
        self.note_of_trial(trial.number, LOST, True)
        self.fail(trial.number, reason)

    def importances(self, objective: int = 0) -> dict[str, float]:
        """How much each dimension matters to an objective, by PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255).

        Shares of 1, the most important first; empty with fewer than 4 complete trials.
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
        """Another process may have ended it meanwhile, where this one was taken for lost."""
        self._study.sampler = _optuna().samplers.RandomSampler()  # that of a grid would stop a loop of Optuna's
        with contextlib.suppress(_optuna().exceptions.UpdateFinishedTrialError):
            self._study.tell(number, skip_if_finished=True, **told)


def _optuna() -> Any:
    """The library, which says nothing by itself."""
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
        except Exception as error:  # whatever its driver raises; the address may hold a password
            kind = storage.partition("://")[0]
            raise InputError(f"--storage {kind}://... cannot be opened: {type(error).__name__}") from None
    path = Path(storage)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = storages.journal.JournalFileSymlinkLock(str(path), grace_period=LOCK_GRACE_S)
    _mend(path, lock)
    try:
        return storages.JournalStorage(storages.journal.JournalFileBackend(str(path), lock))
    except (ValueError, KeyError, AssertionError, TypeError) as error:
        raise InputError(f"{path} is not a journal of a search: {one_line(error)}; give another --storage") from error


def _mend(path: Path, lock: Any) -> None:
    """Takes off the part of a line that a process left which was killed while it wrote: the next would go on behind."""
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
