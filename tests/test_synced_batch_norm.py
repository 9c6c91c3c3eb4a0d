"""Synchronized batch norms: which layer a device gets. test_models.py tests that two processes train as one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import timm
import torch
from torch import nn

from hf_audio.models.spectrogram_cnn import SpectrogramCNN, SpectrogramCNNConfig
from hf_audio.training import synced_batch_norm
from hf_audio.training.synced_batch_norm import SyncedBatchNorm2d, SyncedBatchNormAct2d, sync_batch_norms

ON_GPU = {nn.SyncBatchNorm, timm.layers.SyncBatchNormAct}
ELSEWHERE = {SyncedBatchNorm2d, SyncedBatchNormAct2d}


@pytest.mark.parametrize(("device", "wanted"), [("cuda", ON_GPU), ("cpu", ELSEWHERE)])
def test_gpus_get_torch_s_own_layer(monkeypatch, device, wanted):
    state = SimpleNamespace(device=torch.device(device))
    monkeypatch.setattr(synced_batch_norm, "PartialState", lambda: state)
    network = timm.create_model("test_efficientnet", num_classes=0)
    cnn = SpectrogramCNN(SpectrogramCNNConfig(norm="batch"))
    model, windows = nn.ModuleList([network, cnn]).eval(), torch.randn(2, 3, 64, 64)
    before, names = network(windows), list(model.state_dict())
    sync_batch_norms(model)
    kinds = {type(one) for one in model.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)}
    assert kinds == wanted
    assert list(model.state_dict()) == names
    assert torch.equal(network(windows), before), "evaluation needs no communication"
    assert cnn(torch.randn(2, 64, 64)).logits.isfinite().all()
