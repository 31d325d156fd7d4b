import torch

from stages.core.models.heads import Prototypes, TokenDecoder, applied, mlp, sinusoids


def test_weights_are_a_function_of_seed_and_address():
    before = torch.get_rng_state()
    made = [TokenDecoder(8, 4, 4, 16, 1, seed, "here") for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    weights = [torch.cat([w.flatten() for w in module.parameters()]) for module in made]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_decoder_fills_in_every_place_from_the_visible_ones():
    decoder = TokenDecoder(8, 5, 4, 16, 1, 0)
    tokens, keep = torch.rand(2, 3, 8), torch.tensor([[0, 5, 9], [1, 2, 3]])
    found = decoder(tokens, keep)
    assert found.shape == (2, 16, 5)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(decoder(tokens[:, order], keep[:, order]), found)
    assert decoder.mask_token.ndim == 1, "no weight decay"


def test_prototypes_score_by_angle_and_in_full_precision():
    prototypes, z = Prototypes(4, 3, 0), torch.randn(2, 5, 4)
    torch.testing.assert_close(prototypes(z), prototypes(7 * z))
    assert prototypes(z).abs().max() <= 1 + 1e-6
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(prototypes(z), prototypes(z).float())


def test_places_differ_and_layers_apply_to_the_last_axis():
    assert len(sinusoids(4, 18).unique(dim=0)) == 16
    z, head = torch.randn(2, 3, 4), mlp((4, 8, 5), 0)
    torch.testing.assert_close(applied(z, head), head(z.reshape(6, 4)).reshape(2, 3, 5))
