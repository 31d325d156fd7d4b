import torch
from torch import nn

from stages.core.image.backbones import create_backbone
from stages.core.training.optim import LARS, clip_gradients, create_optimizer, parameter_groups


def network():
    layer = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
    return layer


def with_gradients(module):
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return module


def test_biases_norms_and_position_embeddings_do_not_decay():
    decayed, plain = parameter_groups(network(), 0.1)
    assert [parameter.ndim for parameter in decayed["params"]] == [2, 2]
    assert plain["weight_decay"] == 0.0
    vit = create_backbone("test_vit", 3, 32, seed=0)
    _, plain = parameter_groups(vit, 0.1)
    assert any(parameter is vit.body.pos_embed for parameter in plain["params"])


def test_lars_is_the_textbook_update():
    module = with_gradients(network())
    optimizer = LARS(parameter_groups(module, 0.1), momentum=0.9, trust=0.01)
    expected, momentum = [parameter.detach().clone() for parameter in module.parameters()], {}
    for step in range(3):
        for number, (value, parameter) in enumerate(
            zip(expected, module.parameters(), strict=True)
        ):
            gradient = parameter.grad.clone()
            if value.ndim > 1:
                gradient += 0.1 * value
                gradient *= 0.01 * value.norm() / gradient.norm()
            momentum[number] = 0.9 * momentum.get(number, 0) + gradient
            value -= 0.5 * momentum[number]
        for group in optimizer.param_groups:
            group["lr"] = 0.5
        optimizer.step()
        for value, parameter in zip(expected, module.parameters(), strict=True):
            torch.testing.assert_close(parameter.detach(), value, msg=f"step {step}")


def test_a_step_with_a_non_finite_gradient_changes_nothing():
    for name in ("adamw", "lars"):
        module = with_gradients(network())
        optimizer = create_optimizer(name, module, 0.1)
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[-1]["lr"] = 0.1
        optimizer.found_inf = torch.tensor(0.0)
        optimizer.step()
        before = [parameter.detach().clone() for parameter in module.parameters()]
        next(module.parameters()).grad[0, 0] = float("nan")
        optimizer.found_inf = torch.tensor(1.0)
        optimizer.step()
        for value, parameter in zip(before, module.parameters(), strict=True):
            assert torch.equal(value, parameter.detach()), name


def test_clipping_scales_to_the_norm_and_reports_the_norm_before():
    module = with_gradients(network())
    before = torch.cat([parameter.grad.flatten() for parameter in module.parameters()]).norm()
    assert torch.isclose(clip_gradients(module, 0.0), before)
    assert torch.isclose(clip_gradients(module, 0.5), before)
    after = torch.cat([parameter.grad.flatten() for parameter in module.parameters()]).norm()
    assert torch.isclose(after, torch.tensor(0.5), atol=1e-4)
