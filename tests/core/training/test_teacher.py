import pytest
import torch
from torch import nn

from stages.core.training.draws import Draws
from stages.core.training.teacher import Teacher, rising


def test_a_teacher_is_a_copy_that_moves_by_momentum():
    student = nn.Linear(2, 2)
    teacher = Teacher(student)
    assert not any(weight.requires_grad for weight in teacher.parameters())
    start = student.weight.detach().clone()
    with torch.no_grad():
        student.weight.add_(1.0)
    assert torch.equal(teacher[0].weight, start)
    teacher.follow(student, momentum=0.75)
    torch.testing.assert_close(teacher[0].weight, start + 0.25)


def test_momentum_rises_to_one():
    assert rising(0.9, 0.0) == pytest.approx(0.9)
    assert rising(0.9, 0.5) == pytest.approx(0.95)
    assert rising(0.9, 1.0) == pytest.approx(1.0)


def test_draws_are_new_at_every_update_and_come_back_from_a_checkpoint():
    draws, other = Draws(0, "here"), Draws(0, "here")
    first = draws.directions(4, 3)
    torch.testing.assert_close(first.norm(dim=0), torch.ones(3))
    assert torch.equal(first, other.directions(4, 3))
    draws.advance()
    assert not torch.equal(first, draws.directions(4, 3))
    other.load_state_dict(draws.state_dict())
    assert torch.equal(draws.directions(4, 3), other.directions(4, 3))
