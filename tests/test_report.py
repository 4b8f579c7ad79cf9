"""The report: one file, nothing fetched, everything escaped, and enough in it to train the same again."""

from __future__ import annotations

import html
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from descend import report
from descend.doctor._check import Evidence, Finding
from descend.errors import MissingExtraError, RunError
from descend.recipe import Recipe
from descend.run import Recorder, Run

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """What a browser would make of a report: is it nested well, what does it refer to, and its tables and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.targets: list[str] = []
        self.identities: list[str] = []
        self.handlers: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.words: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attributes)
        self.targets += [
            value or "" for name, value in given.items() if name in ("src", "href", "xlink:href", "srcset", "action")
        ]
        self.identities += [value or "" for name, value in given.items() if name == "id"]
        self.handlers += [name for name in given if name.startswith("on")]
        if tag == "caption":
            self.title = ""
        if tag == "tr" and "tbody" in self.open:
            self.tables[self.title].append([])
        if tag in ("td", "th") and "tbody" in self.open:
            self.tables[self.title][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if "caption" in self.open:
            self.title += data
            self.tables[self.title] = []
        if self.open and self.open[-1] in ("td", "th") and "tbody" in self.open:
            self.tables[self.title][-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def record(folder: Path, *, end: float = 1e-6, why: str = "finished", **fields: str | float | None) -> Run:
    with Recorder(folder, Recipe(**fields)) as recorder:
        recorder.note("started", 0, parameters=4, rows=100, device="cpu", threads=1, versions={"torch": "2.13.0"})
        recorder.note("truth", 0, values={"performance": 12.0, "bias": 20.0})
        for step, loss in enumerate(np.geomspace(18509, end, 40).tolist()):
            learned = {"learned/performance": 12 + loss / 18509, "learned/bias": 20 - loss / 18509}
            recorder.log(step, 32 * step, 0.01 * step, {"loss/batch": loss, "lr/0": 0.01})
            recorder.log(step, 32 * step, 0.01 * step, {"loss/train": loss, "r2/train": 1 - loss / 18509, **learned})
        recorder.note("ended", 39, why=why, seconds=0.39)
    return Run(folder)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return record(tmp_path_factory.mktemp("runs") / "linear-sgd-001", lr=0.005, optimizer="momentum", epochs=7)


@pytest.fixture(scope="module")
def fifteen(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("runs")
    sizes = ("all", 32, 1)
    return [record(folder / f"{size}-{seed}", batch_size=size, seed=seed) for size in sizes for seed in range(5)]


@pytest.fixture(scope="module")
def texts(one: Run, fifteen: list[Run]) -> dict[str, str]:
    return {"one": report.page([one]), "fifteen": report.page(fifteen)}


@pytest.fixture(scope="module")
def page_of_one(texts: dict[str, str]) -> Page:
    return Page(texts["one"])


@pytest.fixture(scope="module")
def page_of_fifteen(texts: dict[str, str]) -> Page:
    return Page(texts["fifteen"])


@pytest.mark.parametrize("which", ["one", "fifteen"])
def test_nothing_is_fetched_and_nothing_runs(texts: dict[str, str], which: str) -> None:
    page, text = Page(texts[which]), texts[which]
    assert all(target.startswith(("#", "data:")) for target in page.targets)
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)]*)", text))
    assert not {"script", "link", "iframe", "object", "embed", "img", "form", "base"} & set(page.tags)
    assert "@import" not in text
    assert page.handlers == []
    addresses = set(re.findall(r"https?://[^\s\"'<]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names of XML, not places


def test_no_two_elements_share_an_id(page_of_fifteen: Page) -> None:
    assert len(page_of_fifteen.identities) == len(set(page_of_fifteen.identities))


def test_the_same_runs_give_the_same_bytes(one: Run, texts: dict[str, str]) -> None:
    assert report.page([one]) == texts["one"]


HOSTILE = "<script>alert(1)</script>&\"'{{ 7 * 7 }}$x_{"


def test_nothing_that_comes_from_outside_is_markup(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run", Recipe(data="table", file=HOSTILE, target=HOSTILE)) as recorder:
        recorder.note("truth", 0, values={HOSTILE: 1.0})
        recorder.note("limit", 0, lr=1.0, limit=0.1, beyond=True, sentence=HOSTILE)
        recorder.note(HOSTILE, 0, **{HOSTILE: HOSTILE})
        recorder.note("started", 0, device=HOSTILE, threads=2, versions={HOSTILE: HOSTILE})
        recorder.log(
            1, 1, 1.0, {"loss/batch": 1.0, f"learned/{HOSTILE}": 2.0, f"grad_norm/{HOSTILE}": 3.0, "lr/0": 1.0}
        )
        recorder.note("ended", 1, why=HOSTILE, error=HOSTILE)
    table = report.Table(HOSTILE, [HOSTILE], [[HOSTILE]])
    page = Page(text := report.page([Run(tmp_path / "run")], title=HOSTILE, verdict=[HOSTILE], tables=[table]))
    assert "script" not in page.tags
    assert "<script" not in text
    assert page.handlers == []
    assert page.text.count("alert(1)") > 10
    assert "49" not in page.text


def test_the_head_says_what_was_trained_and_how_it_ended(page_of_one: Page) -> None:
    assert (
        "Trained linear on employee_bonus with momentum. Finished after 39 updates in 0.39 seconds." in page_of_one.text
    )


def test_what_was_learned_stands_beside_what_is_true(page_of_one: Page) -> None:
    assert page_of_one.tables["Learned parameters"] == [
        ["performance", "12", "12"],
        ["bias", "20", "20"],
        ["largest error", "–", "5.4e-11"],
    ]


def test_the_command_and_the_toml_give_the_recipe_back(one: Run, texts: dict[str, str]) -> None:
    command, toml = (html.unescape(text) for text in re.findall(r"<pre>(.*?)</pre>", texts["one"], re.DOTALL))
    descend, train, *flags = shlex.split(command)
    assert (descend, train) == ("descend", "train")
    assert Recipe.from_flags(flags) == one.recipe
    assert Recipe.from_toml(toml) == one.recipe


def test_every_setting_stands_in_one_table_and_defaults_are_folded(one: Run, page_of_one: Page) -> None:
    chosen, defaults = (dict(page_of_one.tables[title]) for title in ("Chosen", "Left as they are by default"))
    assert chosen.keys() | defaults.keys() == one.recipe.fields().keys()
    assert not chosen.keys() & defaults.keys()
    assert {"lr": "0.005", "optimizer": "momentum", "epochs": "7"}.items() <= chosen.items()
    assert defaults["dtype"] == "float32"


def test_fifteen_runs_of_three_variants_are_told_as_three(page_of_fifteen: Page) -> None:
    tables = page_of_fifteen.tables
    ended = tables["Where each variant ended, median over its seeds"]
    assert [row[:3] for row in ended] == [
        [f"batch_size={size}", "0, 1, 2, 3, 4", "5 finished"] for size in ("all", 32, 1)
    ]
    assert tables["What sets them apart"] == [["batch_size", "all", "32", "1"]]
    assert len(tables["Every run"]) == 15
    assert "All 15 runs went through without an incident." in page_of_fifteen.text
    assert [row[0] for row in tables["What the doctor found"]] == [row[0] for row in ended]
    assert page_of_fifteen.tags.count("table") == 7
    assert page_of_fifteen.tags.count("pre") == 6
    assert "Trained linear on employee_bonus with sgd: 15 runs of 3 variants. 15 finished." in page_of_fifteen.text


def test_verdict_and_tables_of_a_comparison_take_the_place_of_the_reports_own(one: Run) -> None:
    table = report.Table(
        "Cost", ["variant", "updates", "seconds"], [["batch", 12000, 0.31061], ["sgd", None, float("inf")]]
    )
    page = Page(report.page([one], title="Which?", verdict=["Mini-batch is ahead over seconds."], tables=[table]))
    assert page.tables["Cost"] == [["batch", "12,000", "0.3106"], ["sgd", "–", "infinite"]]
    assert "Mini-batch is ahead over seconds." in page.text
    assert not [title for title in page.tables if title.startswith(("Where", "Learned"))]


def stories() -> Iterator[tuple[str, int, dict[str, object], str]]:
    yield "monitor", 5, {"sentence": "Sharpness is not measured."}, "Sharpness is not measured."
    yield "something_new", 8, {"size": 3}, "Something new at update 8: size 3."
    yield "ended", 9, {"why": "early stopped"}, "Early stopped after 9 updates."
    yield "ended", 9, {"why": "non-finite", "seconds": 2.0}, "Diverged after 9 updates in 2 seconds."
    yield "ended", 9, {"why": "failed", "error": "OSError: disk full"}, "Failed after 9 updates: OSError: disk full."


@pytest.mark.parametrize(("kind", "step", "details", "sentence"), list(stories()))
def test_notes_are_told_in_words(
    tmp_path: Path, kind: str, step: int, details: dict[str, object], sentence: str
) -> None:
    with Recorder(tmp_path / "run", Recipe()) as recorder:
        recorder.log(9, 9, 9.0, {"loss/batch": 1.0})
        recorder.note(kind, step, **details)
    assert sentence in Page(report.page([Run(tmp_path / "run")])).text


@pytest.fixture
def watched(tmp_path: Path) -> Run:
    with Recorder(tmp_path / "watched", {"model": "MyNet", "optimizer": "Adam", "lr": 0.1}) as recorder:
        recorder.note("started", 0, parameters=10, versions={"descend": "0.1.0", "torch": "2.13.0"})
        for step in range(1, 41):
            recorder.log(step, 32 * step, 0.01 * step, {"loss/batch": 1.0 / step, "lr/0": 0.1})
        recorder.note("ended", 40, why="finished", seconds=0.4)
    return Run(tmp_path / "watched")


def test_a_watched_run_is_reported_as_far_as_it_is_known(watched: Run) -> None:
    page = Page(report.page([watched]))
    assert "Watched the training of MyNet with Adam. Finished after 40 updates in 0.4 seconds." in page.text
    assert page.tables["Chosen"] == [["model", "MyNet"], ["optimizer", "Adam"], ["lr", "0.1"]]
    assert "Left as they are by default" not in page.tables
    assert "descend train" not in page.text
    assert "Trained with descend 0.1.0, torch 2.13.0." in page.text


def test_a_watched_run_stands_beside_others(watched: Run, one: Run) -> None:
    page = Page(report.page([watched, one]))
    ended = page.tables["Where each variant ended, median over its seeds"]
    assert [row[:3] for row in ended] == [["watched", "–", "finished"], ["linear, momentum", "0", "finished"]]
    apart = {row[0]: row[1:] for row in page.tables["What sets them apart"]}
    assert apart == {"model": ["MyNet", "linear"], "optimizer": ["Adam", "momentum"], "lr": ["0.1", "0.005"]}
    assert page.tags.count("pre") == 2


def test_a_sick_run_is_reported_with_its_diagnosis_and_the_chart_of_the_evidence(
    one: Run, let_look: Callable[..., None]
) -> None:
    evidence = (Evidence("loss/train", 5.0, 1.0, "The loss is <5>."),)
    let_look(missing_zero_grad=lambda chart: Finding("Gradients add up.", evidence, 0.99, since=7))
    page = Page(text := report.page([one]))
    assert "1 problem found, 1 thing checked." in page.text
    assert "missing_zero_grad: certain, since step 7" in page.text
    assert "Evidence: The loss is <5>." in page.text
    assert "The evidence for missing_zero_grad since step 7: loss/train." in page.text
    assert text.index("Diagnosis") < text.index("Results")


def test_a_healthy_run_is_reported_as_healthy_without_a_chart(one: Run, let_look: Callable[..., None]) -> None:
    let_look(missing_zero_grad=lambda chart: None)
    page = Page(report.page([one]))
    assert "Healthy: 1 thing checked." in page.text
    assert "The evidence" not in page.text


def test_of_several_runs_each_variant_has_its_problems_and_how_many_runs_have_them(
    fifteen: list[Run], let_look: Callable[..., None]
) -> None:
    some = Finding("Found.", (), 0.8)
    let_look(
        overfitting=lambda chart: some if chart.recipe.batch_size == 1 else None,
        plateau=lambda chart: some if chart.recipe.batch_size == 1 and chart.recipe.seed < 2 else None,
    )
    page = Page(report.page(fifteen))
    assert page.tables["What the doctor found"] == [
        ["batch_size=all", "nothing"],
        ["batch_size=32", "nothing"],
        ["batch_size=1", "overfitting, plateau (2 of 5 runs)"],
    ]


def test_a_run_without_rows_is_reported_as_killed(tmp_path: Path) -> None:
    Recorder(tmp_path / "empty", Recipe()).close()
    assert "Killed after 0 updates." in Page(report.page([Run(tmp_path / "empty")])).text


def test_of_several_runs_incidents_are_told_with_how_many_they_befell(tmp_path: Path) -> None:
    runs = [record(tmp_path / f"{lr}-{seed}", lr=lr, seed=seed) for lr in (0.1, 0.2) for seed in range(2)]
    runs.append(record(tmp_path / "lost", lr=0.2, seed=2, why="non-finite"))
    page = Page(report.page(runs))
    assert "lr=0.2: Diverged after 39 updates in 0.39 seconds. (1 of 3 runs)" in page.text
    assert "4 finished, 1 diverged" in page.text.lower()


def test_the_file_is_written_where_it_was_asked_for(one: Run, texts: dict[str, str], tmp_path: Path) -> None:
    file = report.write([one], tmp_path / "new" / "report.html")
    assert file.read_text(encoding="utf-8") == texts["one"]
    assert [path.name for path in file.parent.iterdir()] == ["report.html"]


def test_a_report_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="at least one run"):
        report.write([], tmp_path / "report.html")


def test_a_missing_jinja_is_named_with_its_extra(one: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"descend\[report\]"):
        report.page([one])
