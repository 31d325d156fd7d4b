"""The linear probe against scikit-learn used directly, and what it does with few labels."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from stages.core.errors import DataError
from stages.core.metrics.linear_probe import fit_linear


def digits() -> tuple[np.ndarray, np.ndarray]:
    images, labels = load_digits(return_X_y=True)
    return images.astype(np.float32), labels.astype(np.int64)


def test_probe_predicts_as_scikit_learn_on_standardised_features() -> None:
    images, labels = digits()
    probe = fit_linear(
        images[:400], labels[:400], images[400:600], labels[400:600], 10, strengths=(0.1,)
    )
    mean, scale = images[:400].mean(axis=0), images[:400].std(axis=0)
    scale = np.where(scale > 1e-3 * scale.max(), scale, 1)
    reference = LogisticRegression(C=0.1, max_iter=300).fit(
        (images[:400] - mean) / scale, labels[:400]
    )
    expected = reference.predict_proba((images[600:] - mean) / scale)
    np.testing.assert_allclose(probe.predict_proba(images[600:]), expected, atol=2e-3)


def test_fitting_in_the_span_of_few_images_changes_nothing() -> None:
    images, labels = digits()
    few = np.concatenate([np.flatnonzero(labels == label)[:3] for label in range(10)])
    probe = fit_linear(
        images[few], labels[few], images[400:600], labels[400:600], 10, strengths=(1.0,)
    )
    mean, scale = images[few].mean(axis=0), images[few].std(axis=0)
    scale = np.where(scale > 1e-3 * scale.max(), scale, 1)
    reference = LogisticRegression(C=1.0, max_iter=300).fit(
        (images[few] - mean) / scale, labels[few]
    )
    expected = reference.predict_proba((images[600:] - mean) / scale)
    np.testing.assert_allclose(probe.predict_proba(images[600:]), expected, atol=5e-3)


def test_strength_is_the_one_that_is_best_on_validation() -> None:
    images, labels = digits()
    train, held = slice(0, 200), slice(200, 500)
    picked = fit_linear(images[train], labels[train], images[held], labels[held], 10)
    each = [
        fit_linear(
            images[train], labels[train], images[held], labels[held], 10, strengths=(strength,)
        ).validation_accuracy
        for strength in (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
    ]
    assert picked.validation_accuracy == max(each)


def test_a_class_without_examples_is_never_predicted() -> None:
    images, labels = digits()
    some = np.flatnonzero(np.isin(labels, [2, 5, 7]))[:60]
    probe = fit_linear(images[some], labels[some], images[some], labels[some], 10)
    assert set(probe.predict(images)) <= {2, 5, 7}
    assert probe.predict_proba(images)[:, 0].max() < 1e-6


def test_two_classes_agree_with_the_binary_model() -> None:
    images, labels = digits()
    two = np.flatnonzero(labels < 2)
    train, held = two[:100], two[100:]
    probe = fit_linear(
        images[train], labels[train], images[held], labels[held], 2, strengths=(1.0,)
    )
    mean, scale = images[train].mean(axis=0), images[train].std(axis=0)
    scale = np.where(scale > 1e-3 * scale.max(), scale, 1)
    reference = LogisticRegression(C=1.0, max_iter=300).fit(
        (images[train] - mean) / scale, labels[train]
    )
    np.testing.assert_allclose(
        probe.predict_proba(images[held]),
        reference.predict_proba((images[held] - mean) / scale),
        atol=2e-3,
    )


def test_one_class_is_refused() -> None:
    images, _ = digits()
    zeros = np.zeros(5, dtype=np.int64)
    with pytest.raises(DataError, match="two or more classes"):
        fit_linear(images[:5], zeros, images[:5], zeros, 2)
