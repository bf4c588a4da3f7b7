"""Muon trains a module's matrices and inner convolutions in place; AdamW has the rest."""

from __future__ import annotations

import torch
from torch import nn

from training.muon import over


def small() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8 * 16, 128), nn.Unflatten(1, (8, 4, 4))]
    return nn.Sequential(*layers, nn.Conv2d(8, 3, 1)).to(memory_format=torch.channels_last)


def train(module: nn.Module, optimizer, steps: int) -> float:
    inputs = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        loss = (module(inputs) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def test_the_modules_own_weights_are_trained() -> None:
    module = small()
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    optimizer = over(module, 1e-2)
    assert {id(p) for p in optimizer.matrices} == {id(module[1].weight), id(module[3].weight)}
    first = train(module, optimizer, 1)
    assert train(module, optimizer, 30) < first / 4
    assert not [name for name, p in module.named_parameters() if torch.equal(p, before[name])]


def test_an_update_is_a_step_of_nearly_equal_length_in_every_direction() -> None:
    module = small()
    before = module[1].weight.detach().clone()
    optimizer = over(module, 1e-2)
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
    train(module, optimizer, 1)
    update = (module[1].weight.detach() - before).permute(0, 2, 3, 1).flatten(1)
    lengths = torch.linalg.svdvals(update)
    assert lengths.min() > 0.4 * lengths.max()


def test_going_on_from_a_saved_state_is_going_on() -> None:
    once, paused = small(), small()
    whole, first = over(once, 1e-2), over(paused, 1e-2)
    train(once, whole, 6)
    train(paused, first, 3)
    second = over(paused, 1e-2)
    second.load_state_dict(first.state_dict())
    train(paused, second, 3)
    for a, b in zip(once.parameters(), paused.parameters(), strict=True):
        torch.testing.assert_close(a, b)
