import pytest
import torch
from torch import nn

from stages.core.errors import ConfigError
from stages.core.image.backbone_choice import choose_backbone
from stages.core.image.backbones import create_backbone


@pytest.mark.parametrize(
    ("name", "channels", "size"),
    [
        ("resnet10t", 1, 16),
        ("test_resnet", 3, 32),
        ("vit_tiny_patch16_224", 3, 32),
        ("mobilenetv3_small_050", 3, 32),
        ("convnext_atto", 1, 16),
        ("torchvision:resnet18", 1, 16),
        ("torchvision:efficientnet_b0", 3, 32),
    ],
)
def test_any_name_gives_pooled_features_of_the_stated_width(name, channels, size):
    backbone = create_backbone(name, channels, size, seed=0)
    features = backbone.eval()(torch.rand(2, channels, size, size))
    assert features.shape == (2, backbone.num_features)
    assert backbone.parameter_count == sum(p.numel() for p in backbone.parameters())


def test_weights_depend_on_seed_and_name_and_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    one, same, other = (create_backbone("test_resnet", 3, 32, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(123)
    again = create_backbone("test_resnet", 3, 32, 1)
    torch.set_rng_state(before)
    for a, b, c in zip(one.parameters(), same.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
    first, second = (next(iter(module.parameters())) for module in (one, other))
    assert not torch.equal(first, second)


def test_small_images_keep_their_resolution_through_the_stem():
    small = create_backbone("resnet18", 3, 32, seed=0).body
    assert small.conv1.stride == (1, 1)
    assert small.conv1.kernel_size == (3, 3)
    assert isinstance(small.maxpool, nn.Identity)
    standard = create_backbone("resnet18", 3, 32, seed=0, stem="standard").body
    assert standard.conv1.stride == (2, 2)
    assert create_backbone("resnet18", 3, 96, seed=0).body.conv1.kernel_size == (7, 7)
    assert create_backbone("vit_tiny_patch16_224", 3, 32, seed=0).body.patch_embed.patch_size == (
        4,
        4,
    )


def test_nothing_drops_at_random_in_training():
    backbone = create_backbone("torchvision:efficientnet_b0", 3, 32, seed=0).train()
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(backbone(images), backbone(images))


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"did you mean 'resnet18"):
        create_backbone("resnet18x", 3, 32, seed=0)
    with pytest.raises(ConfigError, match="torchvision has no"):
        create_backbone("torchvision:nothing", 3, 32, seed=0)


@pytest.fixture
def transformer():
    return create_backbone("test_vit", 1, 16, seed=0).eval()


def test_tokens_of_a_transformer_pool_to_its_features(transformer):
    images = torch.rand(2, 1, 16, 16)
    pooled, tokens = transformer.features_and_tokens(images)
    torch.testing.assert_close(pooled, transformer(images))
    assert transformer.grid == 8
    assert tokens.shape == (2, 64, 64)
    torch.testing.assert_close(transformer.tokens(images), tokens)


def test_a_kept_subset_of_patches_is_all_that_the_transformer_sees(transformer):
    images, keep = torch.rand(2, 1, 16, 16), torch.tensor([[0, 9, 63], [5, 4, 3]])
    tokens = transformer.tokens(images, keep)
    assert tokens.shape == (2, 3, 64)
    changed = images.clone()
    changed[0, :, :2, 2:4] += 1  # patch 1, which the first image does not keep
    torch.testing.assert_close(transformer.tokens(changed, keep), tokens)
    changed[0, :, :2, :2] += 1  # patch 0
    assert not torch.allclose(transformer.tokens(changed, keep)[0], tokens[0])
    everything = torch.arange(64).repeat(2, 1)
    torch.testing.assert_close(transformer.tokens(images, everything), transformer.tokens(images))


def test_hidden_patches_are_shown_as_the_mask_token(transformer):
    images, hidden = torch.rand(2, 1, 16, 16), torch.zeros(2, 64, dtype=torch.bool)
    hidden[:, 0] = True
    token = torch.ones(64)
    shown = transformer.tokens(images, hidden=hidden, mask_token=token)
    images[:, :, :2, :2] = 0.5
    torch.testing.assert_close(transformer.tokens(images, hidden=hidden, mask_token=token), shown)


def test_smaller_images_get_interpolated_positions(transformer):
    assert transformer(torch.rand(2, 1, 8, 8)).shape == (2, 64)
    assert transformer.tokens(torch.rand(2, 1, 8, 8)).shape == (2, 16, 64)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "convnext_atto"])
def test_feature_maps_go_from_fine_to_coarse_and_pool_to_the_features(name):
    backbone = create_backbone(name, 1, 16, seed=0).eval()
    images = torch.rand(2, 1, 16, 16)
    pooled, maps = backbone.features_and_maps(images)
    torch.testing.assert_close(pooled, backbone(images))
    sides = [found.shape[-1] for found in maps]
    assert len(maps) > 2
    assert sides == sorted(sides, reverse=True)
    assert [found.shape for found in backbone.feature_maps(images)] == [
        found.shape for found in maps
    ]


def test_what_a_network_does_not_have_is_one_line():
    resnet = create_backbone("test_resnet", 1, 16, seed=0)
    with pytest.raises(ConfigError, match="test_resnet has no patch tokens; choose"):
        resnet.tokens(torch.rand(2, 1, 16, 16))
    torchvisions = create_backbone("torchvision:resnet18", 1, 16, seed=0)
    with pytest.raises(ConfigError, match="no feature maps; choose"):
        torchvisions.feature_maps(torch.rand(2, 1, 16, 16))

    with pytest.raises(ConfigError, match=r"timm has no 'resnet18x'; did you mean 'resnet18"):
        create_backbone("resnet18x@0.5", 3, 32, seed=0)


def test_a_width_scales_every_layer_of_a_resnet():
    whole, half = (create_backbone(name, 3, 64, 0) for name in ("resnet10t", "resnet10t@0.5"))
    assert half.name == "resnet10t@0.5"
    assert 2 * half.num_features == whole.num_features
    assert 3.5 < whole.parameter_count / half.parameter_count < 4.5
    features = half.eval()(torch.rand(2, 3, 64, 64))
    assert features.shape == (2, half.num_features)


@pytest.mark.parametrize("name", ["resnet10t@1", "resnet10t.c3_in1k@1"])
def test_a_width_of_one_is_the_network_itself(name):
    plain, _, _ = name.partition("@")
    assert create_backbone(name, 3, 64, 0).parameter_count == (
        create_backbone(plain, 3, 64, 0).parameter_count
    )


@pytest.mark.parametrize("width", ["", "0", "-1", "half", "nan", "5"])
def test_a_width_that_is_none_is_named(width):
    with pytest.raises(ConfigError, match=rf"resnet10t@{width}: the width after @ is a number"):
        create_backbone(f"resnet10t@{width}", 3, 64, 0)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto", "mobilenetv3_small_050"])
def test_only_resnets_come_in_widths(name):
    with pytest.raises(ConfigError, match=f"{name}@0.5: only timm's ResNets come in other widths"):
        create_backbone(f"{name}@0.5", 3, 32, 0)


def test_a_stem_keeps_its_stride_or_its_pooling_or_neither():
    def stem(name):
        body = create_backbone("resnet18", 3, 64, 0, name).body
        return body.conv1.stride, not isinstance(body.maxpool, nn.Identity)

    assert stem("small") == ((1, 1), False)
    assert stem("half") == ((2, 2), False)
    assert stem("standard") == ((2, 2), True)
    assert create_backbone("resnet18", 3, 64, 0).stem == "small"
    assert create_backbone("resnet18", 3, 96, 0).stem == "standard"
    assert create_backbone("resnet18", 3, 64, 0, "half").stem == "half"


@pytest.mark.parametrize(
    ("size", "name", "stem"),
    [
        (16, "test_resnet", "half"),
        (24, "test_resnet", "half"),
        (32, "resnet10t@0.5", "half"),
        (48, "resnet10t@0.5", "standard"),
        (96, "resnet10t@0.5", "standard"),
    ],
)
def test_auto_is_a_network_for_the_size_of_the_images(size, name, stem):
    choice = choose_backbone(size)
    assert (choice.name, choice.stem) == (name, stem)
    assert f"{size} px" in choice.why
    backbone = create_backbone(choice.name, 3, size, 0, choice.stem)
    assert backbone.eval()(torch.rand(1, 3, size, size)).shape == (1, backbone.num_features)
