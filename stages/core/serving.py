"""Former place of the serving code: models registered before the move import it by this name."""

from stages.core.models.inference import ImageClassifier, ImageEncoder, given_images

__all__ = ["ImageClassifier", "ImageEncoder", "given_images"]
