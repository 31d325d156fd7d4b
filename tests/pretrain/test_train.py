import pathlib
import random
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.neighbors import KNeighborsClassifier

from stages.core.errors import ConfigError, StageFailed
from stages.core.image.backbones import create_backbone
from stages.core.image.jpeg_store import JpegWriter
from stages.core.image.pixel_store import PixelStore
from stages.core.random import generator
from stages.core.training import batches
from stages.pretrain import probe, train
from stages.pretrain.method import method_class
from stages.pretrain.methods.simclr import SimCLR
from stages.pretrain.probe import Probe
from stages.pretrain.report import COLUMNS, curve
from tests.pretrain.gradients import NAMES
from tests.pretrain.pretraining import quick, run, small_data


@pytest.fixture(autouse=True)
def in_its_own_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def weights(trained):
    return torch.cat(
        [tensor.double().flatten() for tensor in trained.backbone.state_dict().values()]
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_objective_lowers_its_loss_and_names_its_paper(name):
    trained = run(
        quick(pretrain__epochs=8, pretrain__warmup=0.0, pretrain__learning_rate=0.003), name
    )
    losses = [row["loss"] for row in trained.history.rows if "loss" in row]
    epoch = len(losses) // 8
    assert np.mean(losses[-epoch:]) < np.mean(losses[:epoch]), losses
    assert trained.metrics["rankme"] > 0
    assert not trained.metrics["collapsed"]
    kind = method_class(name)
    assert kind.paper[-4:].isdigit()
    assert kind.name == name


def test_a_run_is_a_function_of_its_seed_whatever_the_global_generators_say():
    results = []
    for poison in (1, 2):
        # this is the poison
        torch.manual_seed(poison), np.random.seed(poison), random.seed(poison)  # noqa: NPY002
        states = (
            torch.get_rng_state(),
            np.random.get_state()[1].copy(),  # noqa: NPY002
            random.getstate(),
        )
        trained = run(quick())
        assert torch.equal(torch.get_rng_state(), states[0])
        assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
        assert random.getstate() == states[2]
        trained.resume.clear()
        results.append(trained)
    assert torch.equal(weights(results[0]), weights(results[1]))
    assert results[0].history.rows == results[1].history.rows
    assert not torch.equal(weights(run(quick(seed=1))), weights(results[0]))


def test_it_does_not_matter_whether_the_store_is_in_memory_or_mapped(monkeypatch):
    held = run(quick())
    held.resume.clear()
    monkeypatch.setattr(batches.Pixels.__init__, "__defaults__", (0,))
    mapped = run(quick())
    assert torch.equal(weights(held), weights(mapped))


def test_nor_how_many_threads_decode_a_store_of_jpegs_or_whether_it_is_read_ahead(monkeypatch):
    data = small_data()
    with JpegWriter("jpegs", 1, 16, 50 * 256) as writer:
        writer.append(data.store.pixels.numpy())
    found = []
    for workers, in_memory in ((1, 1 << 30), (1, 0), (3, 0)):
        store = PixelStore.open("jpegs")
        store.workers = workers
        monkeypatch.setattr(batches.Pixels.__init__, "__defaults__", (in_memory,))
        trained = run(
            quick(pretrain__epochs=2, pretrain__accumulate=2), data=replace(data, store=store)
        )
        trained.resume.clear()
        found.append(weights(trained))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_accumulating_an_average_over_samples_gives_the_same_step():
    whole = run(
        quick(pretrain__precision="fp32", pretrain__backbone="test_vit", pretrain__epochs=1),
        "instance",
    )
    whole.resume.clear()
    parts = run(
        quick(
            pretrain__precision="fp32",
            pretrain__backbone="test_vit",
            pretrain__epochs=1,
            pretrain__accumulate=2,
        ),
        "instance",
    )
    torch.testing.assert_close(weights(parts), weights(whole), atol=2e-3, rtol=0)
    assert parts.history.rows[0]["loss"] == pytest.approx(whole.history.rows[0]["loss"], abs=1e-3)


def test_a_transformer_tells_how_its_attention_spreads_and_keeps_its_fused_kernel():
    trained = run(quick(pretrain__backbone="test_vit", pretrain__epochs=1))
    assert 0.5 < trained.metrics["attention_entropy"] <= 1
    assert all(block.attn.fused_attn for block in trained.backbone.body.blocks)
    assert "attention_entropy" not in run(quick(pretrain__epochs=1)).metrics


def test_a_loss_that_is_no_number_three_times_stops_the_run_and_keeps_the_last_good_checkpoint(
    monkeypatch,
):
    class Diverging(SimCLR):
        seen = 0

        def forward(self, views):
            Diverging.seen += 1
            losses = super().forward(views)
            return {"loss": losses["loss"] * (float("nan") if Diverging.seen > 4 else 1.0)}

    monkeypatch.setattr(train, "method_class", lambda name: Diverging)
    with pytest.raises(StageFailed, match="3 times in a row"):
        run(quick())
    kept = sorted(pathlib.Path(".rootstock/resume").glob("*/*/tensors.safetensors"))
    assert 1 <= len(kept) <= 2
    for tensors in map(load_file, kept):
        assert all(
            torch.isfinite(tensor).all()
            for name, tensor in tensors.items()
            if tensor.is_floating_point()
        )


@pytest.mark.parametrize("clip", [1.0, 0.0])
def test_a_rate_that_diverges_is_told_with_the_last_good_checkpoint_and_what_to_lower(clip):
    with pytest.raises(StageFailed) as told:
        run(
            quick(
                pretrain__learning_rate=1e6,
                pretrain__clip=clip,
                pretrain__warmup=0,
                pretrain__precision="fp32",
            )
        )
    line = str(told.value)
    assert re.match(r"diverged at step \d+: ", line), line
    kept = r"; last good checkpoint: (step \d+|none, none was due yet); "
    assert re.search(kept + r"lower pretrain\.learning_rate \(now 1e\+06\)$", line), line
    for tensors in map(
        load_file, pathlib.Path(".rootstock/resume").glob("*/*/tensors.safetensors")
    ):
        assert all(
            torch.isfinite(tensor).all()
            for name, tensor in tensors.items()
            if tensor.is_floating_point()
        )


def test_a_probe_that_fails_or_finds_no_number_ends_no_run_and_is_told_once(monkeypatch, capsys):
    def failing(*_):
        raise np.linalg.LinAlgError("Eigenvalues did not converge")

    monkeypatch.setattr(probe, "rankme", failing)
    trained = run(quick(pretrain__epochs=2))
    assert "rankme" not in trained.metrics and np.isfinite(trained.metrics["loss"])
    assert capsys.readouterr().out.count("LinAlgError: Eigenvalues did not converge") == 1
    monkeypatch.setattr(probe, "rankme", lambda _: float("nan"))
    trained = run(quick(seed=1, pretrain__epochs=2))
    assert trained.metrics["rankme"] is None and trained.metrics["knn"] > 0
    assert capsys.readouterr().out.count("rankme at step") == 1
    rank = COLUMNS.index("rankme")
    assert {row[rank] for row in curve({"pretrained": trained})} == {""}


def test_a_single_token_has_no_entropy_of_attention():
    """The last stage of a windowed transformer at 64 px has one token."""
    backbone = create_backbone("swin_tiny_patch4_window7_224", 3, 64, seed=0).eval()
    with probe.attention(backbone) as entropies, torch.no_grad():
        backbone(torch.rand(2, 3, 64, 64, generator=generator(0, "images")))
    assert entropies and np.isfinite(entropies).all() and 0 < np.mean(entropies) <= 1


def test_a_run_that_says_the_same_of_every_image_says_that_it_collapsed(monkeypatch):
    class Agreeing(SimCLR):
        def forward(self, views):
            features = self.features(views.images)
            return {"loss": (features - 1).square().mean()}

    monkeypatch.setattr(train, "method_class", lambda name: Agreeing)
    found = run(
        quick(pretrain__backbone="test_vit", pretrain__learning_rate=0.01, pretrain__epochs=6)
    ).metrics
    assert found["collapsed"]
    assert found["embedding_std"] < 0.3
    assert found["feature_variance"] < 0.01


def test_a_probe_banks_labelled_training_images_asks_validation_images_and_never_sees_a_test_image():  # noqa: E501
    data, seen = small_data(), []
    probe = Probe.of(data.manifest, data.store, 0)
    found = probe(lambda images: seen.append(images) or images.flatten(1).float())
    seen = {image.numpy().tobytes() for images in seen for image in images}
    frame = data.manifest.frame
    test = data.store.gather(np.flatnonzero(frame["split"] == "test"))
    assert not seen & {image.numpy().tobytes() for image in test}
    bank, queries = data.manifest.labelled_rows("train"), data.manifest.labelled_rows("val")
    assert probe.images == len(bank) + len(queries) + len(data.rows)
    nearest = KNeighborsClassifier(1).fit(
        data.store.gather(bank).flatten(1), data.manifest.labels(bank)
    )
    assert found["knn"] == pytest.approx(
        nearest.score(data.store.gather(queries).flatten(1), data.manifest.labels(queries)), abs=0.2
    )


@pytest.mark.slow  # 25 processor seconds and the C++ compiler's
def test_compiled_it_learns_the_same_within_rounding():
    settings = {
        "pretrain__precision": "fp32",
        "pretrain__backbone": "test_vit",
        "pretrain__epochs": 1,
    }
    plain = run(quick(**settings))
    plain.resume.clear()
    compiled = run(quick(**settings, pretrain__compile=True))
    assert compiled.history.rows[0]["loss"] == pytest.approx(
        plain.history.rows[0]["loss"], abs=1e-3
    )
    assert list(compiled.backbone.state_dict()) == list(plain.backbone.state_dict())
    torch.testing.assert_close(weights(compiled), weights(plain), atol=2e-3, rtol=0)


def test_a_wrong_method_or_setting_is_one_line():
    with pytest.raises(ConfigError, match="did you mean 'simclr'"):
        method_class("simcrl")
    with pytest.raises(
        ConfigError, match=r"temprature is not a parameter; did you mean 'temperature'"
    ):
        train.check_settings(SimCLR, {"temprature": 1})
    with pytest.raises(ConfigError, match="cannot be split"):
        run(quick(pretrain__batch_size=4, pretrain__accumulate=3))
