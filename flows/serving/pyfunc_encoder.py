"""The registered encoder as MLflow runs it: a model from code over safetensors, as the classifier
is.
"""

from __future__ import annotations

from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST

from stages.core.errors import DataError
from stages.core.models.inference import ImageEncoder, given_images


class Served(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Answers a table with a column ``image`` (base64 of JPEG or PNG bytes) or ``pixels`` (uint8
    arrays).
    """

    def load_context(self, context: Any) -> None:
        """Read the weights once."""
        self.encoder = ImageEncoder(context.artifacts["model"])

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """``features``: one vector per row given."""
        try:
            features = self.encoder.features(given_images(model_input))
        except (
            DataError
        ) as error:  # of another kind, MLflow's server would bury the reason in a traceback
            raise MlflowException(str(error), BAD_REQUEST) from error
        return pd.DataFrame({"features": features.tolist()})


mlflow.models.set_model(Served())
