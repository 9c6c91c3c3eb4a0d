"""The order of an epoch: global batches are the same for any number of processes and micro-batches."""

from __future__ import annotations

import pytest
import torch
from training_run import batch_of, tiny_model, trainer_of

from hf_audio.errors import InputError
from hf_audio.losses import loss_for
from hf_audio.training.epoch_batches import BatchLayout, EpochBatches
from hf_audio.training.objective import Places

NUM_WINDOWS = 39
DIVISIONS = [(8, 1, 1), (4, 2, 1), (4, 1, 2), (2, 2, 2), (1, 2, 4), (2, 1, 4)]  # batch size, accumulation, processes


def steps_of(batch_size: int, accumulation: int, world_size: int, epoch: int, **options) -> list[dict[int, int]]:
    """The windows that count in each step of an epoch, by place; checks that shares add up."""
    steps: list[dict[int, int]] = []
    for rank in range(world_size):
        layout = BatchLayout(NUM_WINDOWS, batch_size, accumulation, rank, world_size, **options)
        batches = EpochBatches(layout, seed=3)
        batches.set_epoch(epoch)
        rows = list(batches)
        assert len(rows) == len(batches) and all(len(one) == batch_size for one in rows)
        for number, one in enumerate(rows):
            step, micro_batch = divmod(number, accumulation)
            steps += [{}] * (step + 1 - len(steps))
            share = layout.share(epoch * layout.steps_per_epoch + step, micro_batch)
            counted = dict(zip(share.places, one[: share.num_counted], strict=False))
            steps[step] = {**steps[step], **counted}
            assert share.num_in_step == min(NUM_WINDOWS - 8 * step, 8) or options
    return [dict(sorted(step.items())) for step in steps]


@pytest.mark.parametrize("epoch", [0, 3])
def test_any_division_of_a_step_has_the_same_windows_in_the_same_places(epoch):
    first, *others = [steps_of(*division, epoch) for division in DIVISIONS]
    assert all(other == first for other in others)
    assert [len(step) for step in first] == [8, 8, 8, 8, 7]
    assert sorted(row for step in first for row in step.values()) == list(range(NUM_WINDOWS)), "each window counts once"


def test_epochs_differ_in_order_and_the_stored_order_can_be_kept():
    orders = [[row for step in steps_of(8, 1, 1, epoch) for row in step.values()] for epoch in (0, 1)]
    assert orders[0] != orders[1] and orders[0] != sorted(orders[0])
    stored = EpochBatches(BatchLayout(5, 2), seed=None)
    assert list(stored) == [[0, 1], [2, 3], [4, 0]]
    assert list(EpochBatches(BatchLayout(3, 8), seed=None)) == [[0, 1, 2, 0, 1, 2, 0, 1]]


def test_an_incomplete_last_batch_can_be_dropped():
    for division in DIVISIONS:
        batch_size, _, world_size = division
        across = batch_size * world_size
        found = [row for step in steps_of(*division, 0, drop_last=True) for row in step.values()]
        assert len(found) == len(set(found)) == NUM_WINDOWS // across * across


def test_random_numbers_depend_only_on_a_windows_place():
    whole = Places(7, 3, range(8))
    parts = [Places(7, 3, range(first, first + 2)) for first in range(0, 8, 2)]
    assert torch.equal(whole.uniform(3), torch.cat([part.uniform(3) for part in parts]))
    assert whole.keys == [key for part in parts for key in part.keys] and len(set(whole.keys)) == 8
    assert not torch.equal(whole.uniform(3), Places(7, 4, range(8)).uniform(3))


def test_fillers_of_the_last_batch_do_not_count_in_the_loss(tiny_features, tmp_path):
    """38 windows in batches of 16: the third step's loss is the mean of 6 windows, but its batch has 16 as well."""
    sizes, losses, model = [], [], tiny_model(tiny_features)
    model.register_forward_pre_hook(lambda _, args, inputs: sizes.append(len(inputs["input_values"])), with_kwargs=True)
    arguments = {
        **{"per_device_train_batch_size": 16, "num_train_epochs": 1, "train_sampling_strategy": "sequential"},
        **{"learning_rate": 0.0, "weight_decay": 0.0, "eval_strategy": "no", "save_strategy": "no"},
    }
    trainer = trainer_of(tiny_features, tmp_path, model, arguments)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert sizes == [16, 16, 16]
    batch = batch_of(tiny_features, "train")
    with torch.no_grad():
        logits, loss = model.eval()(input_values=batch["input_values"]).logits, loss_for(tiny_features.labels)
    wanted = [loss(logits[part], batch["labels"][part]).item() for part in (slice(16), slice(16, 32), slice(32, 38))]
    assert losses == pytest.approx(wanted, rel=1e-4)


def test_dropping_all_windows_is_refused(tiny_features, tmp_path):
    with pytest.raises(InputError, match=r"38 training windows .* batch of 64, .*--dataloader_drop_last"):
        trainer_of(tiny_features, tmp_path, arguments={"per_device_train_batch_size": 64, "dataloader_drop_last": True})
