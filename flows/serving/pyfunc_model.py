"""The registered classifier as MLflow runs it: a model from code, executed by ``mlflow models
serve`` and ``load_model``.

It holds no weights and no pickle: the artifact directory beside it does, as safetensors and JSON.
"""

from __future__ import annotations

from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST

from stages.core.errors import DataError
from stages.core.models.inference import ImageClassifier, given_images


class Served(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Answers a table with a column ``image`` (base64 of JPEG or PNG bytes) or ``pixels`` (uint8
    arrays).
    """

    def load_context(self, context: Any) -> None:
        """Read the weights once."""
        self.classifier = ImageClassifier(context.artifacts["model"])

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """``label``, ``probability`` and one column ``p.<class>`` per class, a row for each row
        given.
        """
        try:
            answers = self.classifier.predict(given_images(model_input))
        except (
            DataError
        ) as error:  # of another kind, MLflow's server would bury the reason in a traceback
            raise MlflowException(str(error), BAD_REQUEST) from error
        columns: dict[str, Any] = {
            key: [answer[key] for answer in answers] for key in ("label", "probability")
        }
        for name in self.classifier.classes:
            columns[f"p.{name}"] = [answer["probabilities"][name] for answer in answers]
        return pd.DataFrame(columns)


mlflow.models.set_model(Served())
