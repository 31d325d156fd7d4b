"""Each encoder of curate.encoder: what it computes, what it refuses, and that nothing is encoded
twice.
"""

import math
import shutil

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from stages.core import paths
from stages.core.curation_steps import split_encoder
from stages.core.data.manifest import Manifest
from stages.core.errors import ConfigError
from stages.core.image.backbones import create_backbone
from stages.core.image.pixel_store import PixelStore
from stages.core.image.preprocess import Preprocess
from stages.core.io import write_json
from stages.core.metrics.representation import knn_predict
from stages.core.models.artifact import load_encoder, save_model
from stages.curate.encoder import NamedEncoder, Source
from stages.curate.scattering import ORIENTATIONS, halve, modulus, morlet, scatter
from tests.support.images import DIGITS, IMAGES, class_folders, params_with, run_stage

GREY = torch.from_numpy(IMAGES)[:, None]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = class_folders(tmp_path / "in", per_class=40)
    run_stage("ingest", params_with(ingest={"source": f"folder:{folder}", "labelled_fraction": 1}))
    return tmp_path


def source() -> Source:
    return Source(Manifest.read(paths.POOL_MANIFEST), PixelStore.open(), seed=0)


def test_moduli_against_a_plain_sum_over_the_filter():
    bank, maps = morlet(), GREY[:1].float()
    found = modulus(maps, bank)
    picture = np.pad(maps[0, 0].numpy().astype(np.float64), 3, mode="reflect")
    for number in range(ORIENTATIONS):
        wave = bank[2 * number, 0].numpy().astype(np.float64) + 1j * bank[2 * number + 1, 0].numpy()
        for down, right in ((0, 0), (3, 5), (7, 7)):
            total = sum(
                wave[i, j] * picture[down + i, right + j] for i in range(7) for j in range(7)
            )
            assert math.isclose(
                found[0, number, down, right].item(), abs(total), rel_tol=1e-3, abs_tol=1e-3
            )


def test_wavelets_see_no_brightness_and_tell_directions_apart():
    bank = morlet()
    assert bank.sum(dim=(1, 2, 3)).abs().max() < 1e-5
    stripes = torch.cos(torch.arange(32) * 0.75 * math.pi).repeat(32, 1)[None, None]
    across, along = (
        modulus(stripes, bank)[0, 0].mean(),
        modulus(stripes, bank)[0, ORIENTATIONS // 2].mean(),
    )
    assert across > 10 * along


def test_halving_keeps_a_constant_and_halves_the_side():
    assert torch.allclose(halve(torch.full((2, 3, 9, 9), 4.0)), torch.full((2, 3, 5, 5), 4.0))


def test_scattering_knows_a_texture_again_that_moved():
    line = torch.arange(40, dtype=torch.float32)
    waves = []
    for number in range(24):
        angle, period = math.pi * number / 24, 3 + number % 5
        along = line[None, :] * math.cos(angle) + line[:, None] * math.sin(angle)
        waves.append(torch.cos(along * 2 * math.pi / period) * 100 + 128)
    images = torch.stack(waves)[:, None].to(torch.uint8)
    still, moved = images[..., :32, :32], images[..., 3:35, 5:37]
    for encode, least, most in (
        (scatter, 1.0, 1.0),
        (lambda pixels: pixels.float().flatten(1), 0.0, 0.7),
    ):
        nearest = torch.cdist(encode(moved), encode(still)).argmin(1)
        assert least <= (nearest == torch.arange(24)).float().mean() <= most


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 16), (3, 40)])
def test_scattering_takes_every_size(channels, side):
    images = torch.randint(
        0, 256, (5, channels, side, side), generator=torch.Generator().manual_seed(0)
    ).to(torch.uint8)
    assert scatter(images).isfinite().all()


def test_scattering_knows_digits_apart(here):
    run_stage("ingest", params_with())
    known = source()
    labels = DIGITS.target[[int(uri.rpartition(":")[2]) for uri in known.manifest.frame["uri"]]]
    features = NamedEncoder("scattering", known)(known.store.gather(np.arange(1797))).numpy()
    assert (
        knn_predict(features[:900], labels[:900], features[900:], 10) == labels[900:]
    ).mean() > 0.9


def test_self_learns_from_training_images_alone_and_twice_the_same(here):
    features = []
    for _ in range(2):
        shutil.rmtree(paths.CACHE, ignore_errors=True)
        features.append(NamedEncoder("self:2", source())(GREY[:8].repeat(1, 1, 4, 4)))
    assert torch.equal(*features)
    manifest = source().manifest
    held_out = manifest.frame["split"].isin(["val", "test"]).to_numpy()
    assert held_out.any() and not held_out[source().own].any()
    (taught,) = paths.CACHE.glob("self-*")
    assert load_encoder(taught).num_features == features[0].shape[1]
    assert not list(paths.RESUME.glob("*"))


def test_self_wants_an_epoch_count_and_enough_images(here):
    with pytest.raises(ConfigError, match="number of epochs, for example self:30"):
        NamedEncoder("self:long", source()).identity()
    frame = source().manifest.frame
    few = Manifest(frame.assign(split=np.where(np.arange(len(frame)) < 20, "train", "test")))
    with pytest.raises(ConfigError, match="20 images are too few to learn from"):
        NamedEncoder("self", Source(few, PixelStore.open(), 0))(GREY[:2])


def test_registry_uses_what_the_flow_laid_out_and_nothing_else(here):
    size = PixelStore.open().shape[-1]
    backbone = create_backbone("test_resnet", 1, 2 * size, seed=0)
    preprocess = Preprocess(size=2 * size, channels=1, mean=(0.5,), std=(0.25,))
    save_model("encoder", backbone, {"method": "test"}, preprocess)
    with pytest.raises(ConfigError, match="has not been fetched: rootstock run does it"):
        NamedEncoder("registry:rootstock-encoder@frozen-best", source()).identity()
    laid_out = {
        "encoder": "registry:rootstock-encoder@frozen-best",
        "digest": "abc",
        "folder": "encoder",
    }
    write_json(paths.ENCODER, laid_out)
    named = NamedEncoder("registry:rootstock-encoder@frozen-best", source())
    assert "abc" in named.identity()
    images = PixelStore.open().gather(np.arange(6))
    assert named(images).shape == (6, backbone.num_features)
    with pytest.raises(ConfigError, match="has not been fetched"):
        NamedEncoder("registry:rootstock-encoder@finetune-best", source()).identity()


def test_timm_takes_weights_that_are_here_and_downloads_none(here, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(here / "hub"))
    with pytest.raises(
        ConfigError,
        match=r"test_resnet are not on this machine; fetch them once with: hf download timm/test_r",
    ):
        NamedEncoder("test_resnet", source()).identity()
    body = timm.create_model("test_resnet", pretrained=False)
    repository = here / "hub" / "models--timm--test_resnet.r160_in1k"
    (repository / "snapshots" / "1").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("1")
    tensors = {name: tensor.contiguous() for name, tensor in body.state_dict().items()}
    save_file(tensors, repository / "snapshots/1/model.safetensors")
    named = NamedEncoder("test_resnet", source())
    found = named(PixelStore.open().gather(np.arange(4)))
    assert found.shape == (4, body.num_features)
    assert found.std(dim=0).max() > 0


def test_names_are_checked_before_anything_runs():
    assert split_encoder("resnet18.a1_in1k") == ("timm", "resnet18.a1_in1k")
    assert split_encoder("self:30") == ("self", "30")
    for given, said in {
        "scatering": "did you mean 'scattering'",
        "registry": "registry needs a name, for example registry:rootstock-encoder@frozen-best",
        "timm:": "timm needs a name",
    }.items():
        with pytest.raises(ConfigError, match=said):
            split_encoder(given)


def test_another_threshold_encodes_nothing_again(here):
    def dropped(share: float) -> set[int]:
        run_stage(
            "curate",
            params_with(
                curate={"encoder": "scattering", "steps": [{"outliers": {"share": share}}]}
            ),
        )
        return set(np.flatnonzero(~Manifest.read(paths.CURATED_MANIFEST).frame["keep"]))

    frame = Manifest.read(paths.POOL_MANIFEST).frame
    Manifest(frame.assign(label=None)).write(paths.POOL_MANIFEST)
    lost = dropped(0.05)
    assert len(lost) == 3
    (file,) = paths.CACHE.glob("features-*.npy")
    stored = np.load(file, mmap_mode="r+")
    usual = next(
        row for row in Manifest.read(paths.POOL_MANIFEST).pretraining_rows() if row not in lost
    )
    stored[list(lost)] = stored[usual]
    stored.flush()
    assert not lost & dropped(0.06)  # what lies in the cache counts: nothing was encoded again
