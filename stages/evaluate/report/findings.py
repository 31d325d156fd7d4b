"""The table in three sentences: whether pretraining helped on these images, by how much, and what
beat what.
"""

from __future__ import annotations

from stages.core.metrics.intervals import Interval
from stages.evaluate.comparison import MODELS, Comparison, Table
from stages.evaluate.ladder import ALL


def sentences(table: Table) -> list[str]:
    """Return three plain sentences and, where they apply, warnings. A difference is claimed where
    its paired interval excludes zero, and nowhere else.
    """
    main = table.headlines()
    better = verdicts(main)["better"]
    headline = max(main, key=lambda answer: answer.difference.value) if better else main[-1]
    told = [_verdict(main), _size(main, headline), _controls(table.comparisons(), headline.budget)]
    if main[-1].first.chosen.startswith("scratch"):
        told.append(
            f"On these images labels alone do as well with {labels_phrase(main[-1].budget)}: what"
            " ships was trained from scratch, and pretraining bought nothing."
        )
    if against := [answer for answer in table.comparisons() if answer.second.model == "start"]:
        told.append(_start(against))
    short = [row for row in table.rows if row.undertrained]
    if short:
        told.append(
            f"Marked rows ({len(short)}) were trained for fewer steps than their plateau needs, so"
            " a gain over them may be no gain: raise finetune.steps or set it to auto."
        )
    return told


def verdicts(answers: list[Comparison]) -> dict[str, list[str]]:
    """Budgets by verdict."""
    return {
        name: [answer.budget for answer in answers if answer.verdict == name]
        for name in ("better", "worse", "no difference")
    }


def percent(share: float) -> str:
    """``88.5 %``."""
    return f"{100 * share:.1f} %"


def points(difference: Interval) -> str:
    """``+12.3 points (95 % interval +8.1 to +16.9)``, or ``no difference (…)``."""
    spread = f"95 % interval {signed(difference.low)} to {signed(difference.high)}"
    if difference.excludes_zero:
        return f"{signed(difference.value)} points ({spread})"
    return f"no difference ({signed(difference.value)} points, {spread})"


def labels_phrase(budget: str) -> str:
    """``5 labels per class`` or ``all labels``."""
    return (
        "all labels" if budget == ALL else f"{budget} label{'' if budget == '1' else 's'} per class"
    )


def _verdict(main: list[Comparison]) -> str:
    found = {name: _budgets(budgets) for name, budgets in verdicts(main).items()}
    if not found["no difference"] and not found["worse"]:
        return "Pretraining helped on these images at every number of labels that was tried."
    if not found["better"] and not found["worse"]:
        return (
            "Pretraining made no measurable difference on these images at any number of labels that"
            " was tried."
        )
    if not found["better"]:
        rest = (
            f", and made no measurable difference with {found['no difference']}"
            if found["no difference"]
            else ""
        )
        return (
            "Pretraining did not help on these images: it lost accuracy with"
            f" {found['worse']}{rest}."
        )
    others = (
        [f"made no measurable difference with {found['no difference']}"]
        if found["no difference"]
        else []
    )
    others += [f"lost accuracy with {found['worse']}"] if found["worse"] else []
    return f"Pretraining helped on these images with {found['better']}, but {' and '.join(others)}."


def _size(main: list[Comparison], headline: Comparison) -> str:
    last = main[-1]
    tail = ""
    if last is not headline:
        tail = f"; with {labels_phrase(last.budget)} it is {points(last.difference)}"
        if last.second.model != headline.second.model:
            tail += f" against {_called(last.second.model)}"
    return (
        f"With {labels_phrase(headline.budget)} what ships gets {percent(headline.first.accuracy)}"
        f" of the test images right and the strongest control, {_called(headline.second.model)},"
        f" {percent(headline.second.accuracy)}: {points(headline.difference)}{tail}."
    )


def _controls(answers: list[Comparison], budget: str) -> str:
    frozen = [
        answer
        for answer in answers
        if answer.budget == budget and answer.first.model == "pretrained"
    ]
    if not frozen:
        return (
            f"With {labels_phrase(budget)} there is no frozen encoder to compare with the controls."
        )
    groups: dict[str, list[str]] = {"better": [], "worse": [], "no difference": []}
    for answer in frozen:
        gap = signed(answer.difference.value)
        groups[answer.verdict].append(f"{_called(answer.second.model)} ({gap})")
    parts = [f"beats {_list(groups['better'])}"] if groups["better"] else []
    parts += [f"loses to {_list(groups['worse'])}"] if groups["worse"] else []
    parts += (
        [f"is no different from {_list(groups['no difference'])}"]
        if groups["no difference"]
        else []
    )
    return (
        f"Frozen, with {labels_phrase(budget)}, the pretrained encoder {_list(parts)}, in points of"
        " accuracy."
    )


def _start(answers: list[Comparison]) -> str:
    """Whether own pretraining is worth it beside the weights it started from, frozen."""
    found = {name: _budgets(budgets) for name, budgets in verdicts(answers).items()}
    last = f"with {labels_phrase(answers[-1].budget)}: {points(answers[-1].difference)}"
    parts = [f"own pretraining is better with {found['better']}"] if found["better"] else []
    parts += (
        [f"the start weights as they are are better with {found['worse']}"]
        if found["worse"]
        else []
    )
    parts += (
        [f"there is no measurable difference with {found['no difference']}"]
        if found["no difference"]
        else []
    )
    return (
        "Own pretraining against the weights it started from, both frozen:"
        f" {_list(parts)} ({last})."
    )


def _called(model: str) -> str:
    return {
        "pixels": "raw pixels",
        "scratch": "the same network trained from scratch",
        "random": "an untrained encoder",
        "control": "the instance-classification control",
        "start": "its start weights as they are",
    }.get(model, MODELS[model].lower())


def _budgets(names: list[str]) -> str:
    counts = [name for name in names if name != ALL]
    phrases = [f"{_list(counts)} label{'' if counts == ['1'] else 's'} per class"] if counts else []
    return _list(phrases + (["all labels"] if ALL in names else []))


def _list(items: list[str]) -> str:
    return ", ".join(items[:-1]) + (" and " if len(items) > 1 else "") + items[-1] if items else ""


def signed(share: float) -> str:
    text = f"{100 * share:+.1f}".replace("-", "−")
    return "0.0" if text in {"+0.0", "−0.0"} else text
