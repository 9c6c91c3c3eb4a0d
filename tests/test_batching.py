"""Windows of several requests share forward passes. Each request gets its answers, and none waits for a long one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest
import torch

from hf_audio.serving.batching import Batcher

LIMIT_S = 10


class Model:
    """Doubles its inputs, once it is released, and records its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.let_go, self.has_begun = threading.Event(), threading.Event()

    def __call__(self, inputs):
        self.has_begun.set()
        assert self.let_go.wait(LIMIT_S)
        self.batches.append(inputs["x"][:, 0].tolist())
        if (inputs["x"] < 0).any():
            raise ValueError("a window that cannot be judged")
        return 2 * inputs["x"].numpy()


def windows(*values: float, width: int = 1) -> dict[str, torch.Tensor]:
    return {"x": torch.tensor(values, dtype=torch.float32)[:, None].expand(-1, width)}


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def busy(model):
    """A batcher whose model is blocked by a first window, 0, so that later requests wait together."""
    batcher = Batcher({"logits": model, "other": model}, batch_size=4)
    first = batcher.submit("logits", windows(0))
    assert model.has_begun.wait(LIMIT_S)
    yield batcher
    model.let_go.set()
    assert first.result(LIMIT_S) is not None
    batcher.close()


def test_requests_share_a_forward_pass_and_get_their_own_answers(busy, model):
    asked = [busy.submit("logits", windows(value)) for value in (1, 2, 3)]
    model.let_go.set()
    assert [future.result(LIMIT_S).tolist() for future in asked] == [[[2.0]], [[4.0]], [[6.0]]]
    assert model.batches == [[0], [1, 2, 3]]


def test_short_requests_do_not_wait_for_a_long_one(busy, model):
    long = busy.submit("logits", windows(*range(10, 20)))
    short = busy.submit("logits", windows(1))
    model.let_go.set()
    assert short.result(LIMIT_S).tolist() == [[2.0]]
    assert long.result(LIMIT_S)[:, 0].tolist() == [2.0 * value for value in range(10, 20)]
    assert model.batches[1] == [10, 11, 12, 1] and all(len(batch) <= 4 for batch in model.batches)


def test_windows_of_different_shape_or_kind_do_not_share_a_batch(busy, model):
    asked = [busy.submit("logits", windows(1)), busy.submit("logits", windows(2, width=3))]
    asked.append(busy.submit("other", windows(3)))
    model.let_go.set()
    assert [future.result(LIMIT_S).shape for future in asked] == [(1, 1), (1, 3), (1, 1)]
    assert model.batches == [[0], [1], [2], [3]]


def test_a_failing_window_fails_only_its_request(busy, model):
    good, bad, other = (busy.submit("logits", windows(value)) for value in (1, -1, 2))
    model.let_go.set()
    assert good.result(LIMIT_S).tolist() == [[2.0]] and other.result(LIMIT_S).tolist() == [[4.0]]
    with pytest.raises(ValueError, match="cannot be judged"):
        bad.result(LIMIT_S)


def test_canceled_requests_are_not_computed(busy, model):
    gone, there = busy.submit("logits", windows(1)), busy.submit("logits", windows(2))
    assert busy.waiting_windows == 2 and gone.cancel()
    model.let_go.set()
    assert there.result(LIMIT_S).tolist() == [[4.0]] and model.batches == [[0], [2]]
    assert busy.waiting_windows == 0


def test_without_batching_each_request_has_its_own_batch(model):
    model.let_go.set()
    batcher = Batcher({"logits": model}, batch_size=4, several=False)
    wait([batcher.submit("logits", windows(value, value)) for value in (1, 2, 3)], LIMIT_S)
    batcher.close()
    assert model.batches == [[1, 1], [2, 2], [3, 3]]


def test_closing_finishes_waiting_requests(busy, model):
    asked = [busy.submit("logits", windows(value)) for value in range(1, 9)]
    threading.Timer(0.05, model.let_go.set).start()
    busy.close()
    assert [future.result(0)[0, 0] for future in asked] == [2.0 * value for value in range(1, 9)]
    with pytest.raises(RuntimeError, match="the model is closed"):
        busy.submit("logits", windows(1))


def test_threads_of_a_model_share_the_windows():
    both, batches = threading.Barrier(2, timeout=LIMIT_S), []

    def model(inputs):
        batches.append(len(inputs["x"]))
        both.wait()  # returns only if both threads run the model at once
        return 2 * inputs["x"].numpy()

    batcher = Batcher({"logits": model}, 8, num_threads=2)
    found = batcher.submit("logits", windows(*range(8))).result(LIMIT_S)
    batcher.close()
    assert found[:, 0].tolist() == [2.0 * value for value in range(8)]  # in order, whichever thread finished first
    assert sum(batches) == 8 and max(batches) == 4


@pytest.mark.parametrize("num_threads", [1, 3])
def test_many_clients_get_their_own_answers(num_threads):
    seen = []
    batcher = Batcher(
        {"logits": lambda inputs: 2 * inputs["x"].numpy()},
        8,
        num_threads=num_threads,
        observed=lambda requests, count: seen.append(count),
    )

    def ask(number: int) -> bool:
        values = [number + place / 100 for place in range(number % 11 + 1)]
        found = batcher.submit("logits", windows(*values)).result(LIMIT_S)
        return np.allclose(found[:, 0], 2 * np.array(values))

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(ask, range(300)))
    batcher.close()
    assert sum(seen) == sum(number % 11 + 1 for number in range(300)) and max(seen) <= 8
