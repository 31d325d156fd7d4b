"""Networks are tried before anything runs: a wide sample of families trains and answers, or is
refused in one line.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.core.errors import ConfigError
from stages.core.image.backbones import create_backbone
from stages.core.models.trial import try_network, try_networks
from stages.pretrain.probe import Probe, attention

ROOT = Path(__file__).resolve().parents[2]
QUICK = (
    "test_resnet",
    "test_vit",
    "mixer_s32_224",
    "swin_tiny_patch4_window7_224",
    "levit_128s",
    "torchvision:vgg11",
)
FAMILIES = """
beit_base_patch16_224 halonet26t gernet_s cait_xxs24_224 coat_lite_tiny convit_tiny
convmixer_768_32 convnext_atto crossvit_9_240 cspresnet50 davit_tiny deit_tiny_patch16_224
densenet121 dla46x_c dpn68 edgenext_xx_small efficientformer_l1 efficientformerv2_s0
efficientnet_lite0 efficientvit_b0 efficientvit_m0 eva02_tiny_patch14_224 fasternet_t0
fastvit_t8 focalnet_tiny_srf gcvit_xxtiny ghostnet_050 hardcorenas_a hgnetv2_b0 hiera_tiny_224
hrnet_w18_small inception_next_atto inception_v3 levit_128s mambaout_femto test_maxvit
coatnet_pico_rw_224 poolformer_s12 mixer_s32_224 mixer_s16_224 gmlp_ti16_224 resmlp_12_224
mobilenetv3_small_050 mobilevit_xxs mobilevitv2_050 mvitv2_tiny nest_tiny_jx nfnet_l0 pit_ti_224
pvt_v2_b0 regnetx_002 repghostnet_050 repvit_m1 res2net50_14w_8s resnest14d resnet10t
resnetv2_50 rexnet_100 selecsls42 legacy_seresnet18 sequencer2d_s skresnet18 starnet_s1
swiftformer_xs swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 swinv2_cr_tiny_224
tiny_vit_5m_224 tnt_s_patch16_224 tresnet_m twins_svt_small vgg11 visformer_tiny
vit_tiny_patch16_224 vit_tiny_r_s16_p8_224 vit_relpos_small_patch16_224 samvit_base_patch16
vitamin_small_224 volo_d1_224 vovnet39a legacy_xception xception41 xcit_nano_12_p8_224
torchvision:resnet18 torchvision:efficientnet_b0 torchvision:inception_v3 torchvision:googlenet
torchvision:swin_t torchvision:vit_b_16 torchvision:squeezenet1_1 torchvision:maxvit_t
torchvision:fcos_resnet50_fpn
"""


@pytest.mark.parametrize(("name", "size"), [(name, size) for name in QUICK for size in (32, 64)])
def test_a_network_trains_and_answers_or_is_refused_in_one_line(name: str, size: int) -> None:
    _works_or_one_line(name, size)


@pytest.mark.slow
@pytest.mark.parametrize("size", [32, 64, 224])
@pytest.mark.parametrize("name", FAMILIES.split())
def test_every_family_trains_and_answers_or_is_refused_in_one_line(name: str, size: int) -> None:
    _works_or_one_line(name, size)


def _works_or_one_line(name: str, size: int) -> None:
    """One training step and one probe; whatever passes the trial must pass the probe with
    numbers.
    """
    try:
        backbone = try_network(name, 3, size)
    except ConfigError as error:
        assert "\n" not in str(error) and name.removeprefix("torchvision:") in str(error)
        return
    images = torch.linspace(0, 255, 8 * 3 * size * size).view(8, 3, size, size)
    with attention(backbone) as entropies, torch.inference_mode():
        features = backbone.eval()(images / 255)
    labels = np.arange(8) % 2
    found = Probe(images, labels, images, labels, images)(lambda batch: features)
    assert all(np.isfinite(value) for value in found.values())
    assert np.isfinite(entropies).all()


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto"])
def test_common_networks_pass_at_any_size(name: str) -> None:
    for channels, size in ((1, 8), (3, 32), (3, 64)):
        assert try_network(name, channels, size).num_features > 0


def test_what_a_library_raises_while_it_builds_becomes_one_line() -> None:
    with pytest.raises(ConfigError, match=r"^backbone: .*inception_v3 can(not| not)") as told:
        create_backbone("torchvision:inception_v3", 3, 16, seed=0)
    assert "\n" not in str(told.value)


def test_a_student_larger_than_half_its_teacher_is_refused_by_the_trial() -> None:
    with pytest.raises(
        ConfigError, match=r"distill\.backbone resnet18 has .* a student may have at most half"
    ):
        try_networks("test_resnet", "resnet18", 3, 32)
    try_networks("test_resnet", "test_efficientnet", 3, 32)


def test_the_program_answers_with_one_line_of_json() -> None:
    asked = {
        "pretrain": "nonsense",
        "distill": "test_resnet",
        "channels": 3,
        "size": 32,
        "precision": "auto",
    }
    command = [sys.executable, "-m", "stages.core.models.trial", json.dumps(asked)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["error"].startswith("pretrain.backbone: timm has no 'nonsense'")
