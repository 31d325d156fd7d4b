import torch

from stages.core.training.queue import Bank, Queue


def rows(*numbers):
    return torch.stack([torch.eye(4)[number] for number in numbers])


def test_a_queue_replaces_its_oldest_rows_once_the_update_is_over():
    queue = Queue(3, 4, seed=0)
    before = queue.rows.clone()
    queue.hold(5 * rows(0, 1))
    assert torch.equal(queue.rows, before)
    queue.advance()
    assert torch.equal(queue.rows, torch.cat([rows(0, 1), before[2:]]))
    queue.hold(rows(2, 3))
    queue.advance()
    assert torch.equal(queue.rows, rows(3, 1, 2))


def test_of_a_batch_larger_than_the_queue_the_last_rows_stay():
    queue = Queue(2, 4, seed=0)
    queue.hold(rows(0, 1, 2))
    queue.advance()
    assert torch.equal(queue.rows, rows(1, 2))


def test_rows_that_are_no_numbers_do_not_enter():
    queue, bank = Queue(2, 4, seed=0), Bank(2, 4, seed=0)
    kept = queue.rows.clone(), bank.rows.clone()
    queue.hold(torch.full((1, 4), float("nan")))
    bank.hold(torch.tensor([1]), torch.full((1, 4), float("inf")))
    queue.advance()
    bank.advance(0.5)
    assert torch.equal(queue.rows, kept[0])
    assert torch.equal(bank.rows, kept[1])


def test_a_bank_moves_the_rows_of_the_images_seen():
    bank = Bank(3, 4, seed=0)
    before = bank.rows.clone()
    bank.hold(torch.tensor([2]), 3 * rows(1))
    bank.advance(0.0)
    torch.testing.assert_close(bank.rows, torch.cat([before[:2], rows(1)]))
    bank.hold(torch.tensor([2]), rows(2))
    bank.advance(0.5)
    torch.testing.assert_close(bank.rows[2], torch.tensor([0, 1, 1, 0]) / 2**0.5)


def test_start_rows_have_an_address():
    assert torch.equal(Queue(3, 4, 0, "a").rows, Queue(3, 4, 0, "a").rows)
    assert not torch.equal(Queue(3, 4, 0, "a").rows, Queue(3, 4, 0, "b").rows)
