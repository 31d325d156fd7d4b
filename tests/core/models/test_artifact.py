import hashlib
import json

import pytest
import torch
from torch import nn

from stages.core.errors import DataError
from stages.core.image.backbones import create_backbone
from stages.core.image.preprocess import Preprocess
from stages.core.models.artifact import LinearClassifier, load_classifier, load_encoder, save_model

PREPROCESS = Preprocess(size=16, channels=1, mean=(0.3,), std=(0.3,))


@pytest.fixture
def images():
    return torch.randint(
        0, 256, (7, 1, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )


@pytest.fixture
def backbone():
    return create_backbone("test_resnet", 1, 16, seed=3)


def test_an_encoder_read_back_gives_the_same_features(tmp_path, backbone, images):
    save_model(tmp_path / "m", backbone, {"method": "simclr", "epochs": 3}, PREPROCESS)
    encoder = load_encoder(tmp_path / "m")
    with torch.no_grad():
        expected = backbone.eval()(PREPROCESS.apply(images))
    torch.testing.assert_close(encoder.encode(images), expected, atol=1e-5, rtol=1e-4)
    assert encoder.config["kind"] == "encoder"
    assert encoder.config["method"] == "simclr"
    assert encoder.config["epochs"] == 3
    assert encoder.encode(images[:0]).shape == (0, encoder.num_features)


def test_the_same_model_is_written_as_the_same_bytes(tmp_path, backbone):
    digests = []
    for name in ("a", "b"):
        save_model(tmp_path / name, backbone, {"method": "simclr"}, PREPROCESS)
        files = sorted((tmp_path / name).iterdir())
        digests.append(
            [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]
        )
    assert digests[0] == digests[1]
    assert [name for name, _ in digests[0]] == [
        "config.json",
        "preprocess.json",
        "weights.safetensors",
    ]


def test_a_classifier_read_back_answers_in_the_order_of_its_classes(tmp_path, backbone, images):
    network = LinearClassifier(backbone, 3)
    nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(1))
    save_model(
        tmp_path / "m", network, {"method": "finetune", "classes": ["a", "b", "c"]}, PREPROCESS
    )
    classifier = load_classifier(tmp_path / "m")
    probabilities = classifier.predict_proba(images)
    assert classifier.classes == ["a", "b", "c"]
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(7))
    with torch.no_grad():
        expected = network.eval()(PREPROCESS.apply(images)).softmax(dim=1)
    torch.testing.assert_close(probabilities, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        load_encoder(tmp_path / "m").encode(images), classifier.encoder.encode(images)
    )


def test_a_model_that_cannot_be_used_says_why(tmp_path, backbone):
    save_model(tmp_path / "m", backbone, {"method": "simclr"}, PREPROCESS)
    with pytest.raises(DataError, match="not a classifier"):
        load_classifier(tmp_path / "m")
    config = json.loads((tmp_path / "m/config.json").read_text())
    (tmp_path / "m/config.json").write_text(json.dumps({**config, "backbone": "test_convnext"}))
    with pytest.raises(DataError, match="does not fit"):
        load_encoder(tmp_path / "m")
    (tmp_path / "m/config.json").write_text(json.dumps(config))
    (tmp_path / "m/weights.safetensors").write_bytes(b"short")
    with pytest.raises(DataError, match="cannot be read"):
        load_encoder(tmp_path / "m")
    with pytest.raises(DataError, match="missing"):
        load_encoder(tmp_path / "nothing")


@pytest.mark.parametrize("stem", ["small", "half", "standard"])
def test_the_stem_and_the_width_of_a_network_are_kept(tmp_path, stem):
    preprocess = Preprocess(size=32, channels=1, mean=(0.3,), std=(0.3,))
    backbone = create_backbone("resnet10t@0.25", 1, 32, 0, stem)
    save_model(tmp_path / "m", backbone, {"method": "simclr"}, preprocess)
    assert json.loads((tmp_path / "m/config.json").read_text())["stem"] == stem
    found = load_encoder(tmp_path / "m")
    assert (found.backbone.stem, found.backbone.name) == (stem, "resnet10t@0.25")
    images = torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
    with torch.no_grad():
        expected = backbone.eval()(preprocess.apply(images))
    torch.testing.assert_close(found.encode(images), expected, atol=1e-5, rtol=1e-4)


def test_a_model_saved_before_stems_were_kept_still_loads(tmp_path, backbone, images):
    save_model(tmp_path / "m", backbone, {"method": "simclr"}, PREPROCESS)
    expected = load_encoder(tmp_path / "m").encode(images)
    config = json.loads((tmp_path / "m/config.json").read_text())
    del config["stem"]
    (tmp_path / "m/config.json").write_text(json.dumps(config))
    torch.testing.assert_close(load_encoder(tmp_path / "m").encode(images), expected)
