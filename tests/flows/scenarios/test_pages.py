"""The lineage page and MLflow's own page of the champion, looked at with a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flows.adapters.mlflow.store import Store
from flows.adapters.prefect.server import free_port
from flows.lineage import page as lineage_page
from flows.lineage import trace as lineage
from flows.lineage.verification import Check
from flows.project.environment import QUIET
from flows.registry import versions
from tests.support.in_folder import Inside, answers

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
QUIETLY = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
)
STAGES = ("finetune", "distill", "pretrain", "augment", "curate", "validate", "ingest", "evaluate")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine: pages are not looked at"
)


def browse(address: str, folder: Path, *flags: str, patience: int = 3000) -> str:
    """The page's elements after its scripts ran, and ``page.png`` in the folder."""
    profile = folder / "profile"
    command = [
        str(CHROMIUM),
        "--headless",
        *QUIETLY,
        "--disable-sync",
        f"--user-data-dir={profile}",
        "--window-size=1400,1000",
    ]
    waiting = [f"--virtual-time-budget={patience}", *flags]
    shot = [*command, *waiting, f"--screenshot={folder / 'page.png'}", address]
    dump = [*command, *waiting, "--dump-dom", address]
    outputs = [
        subprocess.run(
            one, capture_output=True, text=True, check=True, timeout=180, start_new_session=True
        ).stdout
        for one in (shot, dump)
    ]
    assert (folder / "page.png").stat().st_size > 10_000
    return outputs[1]


def boxes(page: str) -> list[str]:
    """Titles of the boxes that are drawn."""
    return re.findall(r'<g class="node [^>]*>.*?<text x="22" y="22">([^<]*)</text>', page)


@needs_browser
def test_the_page_shows_the_champion_and_the_chain(registered: Any, tmp_path: Path) -> None:
    file = tmp_path / "lineage.html"
    done = registered.rootstock("lineage", "rootstock-classifier@champion", "--html", str(file))
    assert done.code == 0 and str(file) in done.out, done
    text = file.read_text()
    assert not re.search(r"https?://(?!www\.w3\.org)", text), "it asks no network"
    page = browse(f"file://{file}#pretrain", tmp_path, "--host-resolver-rules=MAP * ~NOTFOUND")
    assert re.search(r'<h1 id="champion">rootstock-classifier version 1 \(champion\)</h1>', page)
    assert set(boxes(page)) == {"classifier 1", "source images", *STAGES}
    with Inside(registered.root):
        chain = lineage.trace(versions.resolve(Store.open(), "rootstock-classifier@champion"))
    pretrain = next(step for step in chain.steps.values() if step.stage == "pretrain")
    facts = page[page.index('id="facts"') : page.index('id="text"')]
    expected = [
        pretrain.run,
        pretrain.tags["git.commit"],
        *pretrain.outputs.values(),
        "pretrain.epochs",
    ]
    assert [fact for fact in expected if fact not in facts] == [], (
        "the run that is asked for stands open"
    )


FOLD = """
<script>
document.querySelector('[data-id="{run}"] .fold').dispatchEvent(new MouseEvent("click", {{ bubbles: true }}));
document.querySelector('[data-id="{click}"]').dispatchEvent(new MouseEvent("click", {{ bubbles: true }}));
</script></html>
"""  # noqa: E501


@needs_browser
def test_a_click_opens_a_run_and_a_fold_hides_what_it_alone_was_made_from(
    registered: Any, tmp_path: Path
) -> None:
    with Inside(registered.root):
        chain = lineage.trace(versions.resolve(Store.open(), "rootstock-classifier@champion"))
    runs = {step.stage: step.run for step in chain.steps.values()}
    wrong = [Check("curate: data/curated/manifest.parquet", "differs", "hashes to something else")]
    lineage_page.write(chain, tmp_path / "page.html", wrong)
    text = (tmp_path / "page.html").read_text().replace("default-src 'none';", "")
    script = FOLD.format(run=runs["finetune"], click=runs["finetune"])
    (tmp_path / "clicked.html").write_text(text.replace("</html>", script))
    page = browse(f"file://{tmp_path / 'clicked.html'}", tmp_path)
    assert set(boxes(page)) == {"classifier 1", "finetune", "evaluate"}
    assert (
        chain.steps[runs["finetune"]].outputs["models/finetuned"]
        in page[page.index('id="facts"') : page.index('id="text"')]
    )
    data = json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]
    assert [node["title"] for node in data["nodes"] if node["bad"]] == ["curate"]


@pytest.mark.parametrize(
    ("what", "titles"),
    [
        ("rootstock-classifier version 1", ["classifier 1"]),
        ("evaluation", ["classifier 1"]),
        ("source images", ["source images"]),
        ("curate: data/curated/manifest.parquet", ["curate"]),
    ],
)
def test_what_a_check_found_wrong_is_coloured_wherever_it_lies(
    looked_at: Store, what: str, titles: list[str]
) -> None:
    chain = lineage.trace(versions.resolve(looked_at, "rootstock-classifier@1"))
    drawn = lineage_page.graph(
        chain, [Check(what, "differs", "hashes to something else"), Check("distill: x", "ok")]
    )
    assert [node["title"] for node in drawn["nodes"] if node["bad"]] == titles


def test_what_a_page_shows_cannot_become_part_of_it(registered: Any, tmp_path: Path) -> None:
    with Inside(registered.root):
        chain = lineage.trace(versions.resolve(Store.open(), "rootstock-classifier@champion"))
    chain.version.tags["note"] = "</script><script>alert(1)</script>"
    lineage_page.write(chain, tmp_path / "page.html")
    assert "<script>alert" not in (tmp_path / "page.html").read_text()


@needs_browser
@pytest.mark.slow
def test_mlflows_page_of_the_champion_shows_its_card(registered: Any, tmp_path: Path) -> None:
    port = free_port()
    folder = registered.root / "mlruns"
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with Inside(registered.root):
        Store.open()  # the copy's addresses lie beside it
    server = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        uri,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    environment = {**os.environ, **QUIET}
    process = subprocess.Popen(
        server,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.3)
        page = browse(
            f"http://127.0.0.1:{port}/#/models/rootstock-classifier/versions/1",
            tmp_path,
            patience=20000,
        )
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert "rootstock-classifier" in page and "champion" in page
    assert "accuracy on the test images" in page, "the model card is the version's description"
    assert "rootstock.promoted_by" in page
    with Inside(registered.root):
        chain = lineage.trace(versions.resolve(Store.open(), "rootstock-classifier@champion"))
    missing = [step.stage for step in chain.steps.values() if step.run not in page]
    assert not missing and chain.source[:10] in page, (
        "the card leads from the champion to the source images"
    )
