"""What a client may send, and what it is told when that is no image."""

from __future__ import annotations

import pytest

from stages.core.errors import DataError
from stages.core.image.preprocess import Preprocess
from stages.core.models.inference import ImageReader


@pytest.mark.parametrize("text", ["no base64!", "naïve", "€", "abc"])
def test_text_that_is_no_base64_is_refused_in_words(text: str) -> None:
    reader = ImageReader(Preprocess(size=8, channels=1, mean=(0.5,), std=(0.25,)))
    with pytest.raises(DataError, match="image 0 is text but not base64"):
        list(reader.batches([text]))


def test_models_registered_before_the_move_find_the_names_they_import() -> None:
    from stages.core import serving
    from stages.core.models import inference

    for name in ("ImageClassifier", "ImageEncoder", "given_images"):
        assert getattr(serving, name) is getattr(inference, name)
