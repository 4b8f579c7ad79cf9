"""The HTML report: one file that opens offline, drawn from runs alone.

Figures are inline SVG and folding is HTML's own, so there is no script and nothing is fetched. The same runs give the
same bytes. Runs whose recipes differ in the seed alone are shown together, as one variant.
"""

from __future__ import annotations

import html
import math
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

from descend.catalog import Value
from descend.doctor._judge import diagnose
from descend.errors import RunError, optional
from descend.files import write_atomically
from descend.plots import PLOTS
from descend.plots._runs import DIVERGED, differing, fields, last, median, number, places, series, truth, variants
from descend.recipe import PARTS, as_text
from descend.run import Note, Run

FRONT: Final = ("loss", "learned", "metrics")
"""The figures to see at once, all others being folded; variants are compared by three_axes instead of loss."""

EVIDENCE: Final = "evidence"  # the figure of the diagnosis

MEASURES: Final = {
    "loss/train": "training loss",
    "loss/validation": "validation loss",
    "accuracy/train": "training accuracy",
    "accuracy/validation": "validation accuracy",
    "r2/train": "training R²",
    "r2/validation": "validation R²",
}


UNTOLD: Final = ("started", "truth", "label", "facts", "found", "ended")
"""The kinds of notes that tables, the diagnosis or the ending tell."""


class Table(NamedTuple):
    """A table of the report: rows of text and numbers, the first cell of each its name."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def write(
    runs: Sequence[Run],
    file: str | Path,
    *,
    title: str | None = None,
    verdict: Sequence[str] = (),
    tables: Sequence[Table] = (),
) -> Path:
    """Write the report of one run or of several, atomically, and return its path.

    `verdict` are sentences to stand at the head; `tables`, where given, take the place of those that say where the
    runs ended and what they learned. Raises RunError without a run, and MissingExtraError without jinja2 or
    matplotlib (pip install 'descend[report]').
    """
    if not runs:
        raise RunError("A report needs at least one run, but none was given.")
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, page(runs, title=title, verdict=verdict, tables=tables).encode())
    return file


def page(
    runs: Sequence[Run], *, title: str | None = None, verdict: Sequence[str] = (), tables: Sequence[Table] = ()
) -> str:
    """The report as HTML; the arguments are those of `write`."""
    jinja2 = optional("jinja2", "report", "Writing a report")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=False)
    environment.filters["cell"] = _cell
    template = environment.from_string(Path(__file__).with_name("_report.html").read_text(encoding="utf-8"))
    groups = variants(runs)
    front, inside = _pictures(runs, groups)
    text: str = template.render(
        version=version("descend"),
        title=title or _title(runs, groups),
        headline=_headline(runs, groups),
        verdict=verdict,
        doctor=_doctor(runs[0]) if len(runs) == 1 else None,
        diagnoses=None if len(runs) == 1 else _diagnoses(groups),
        front=front,
        inside=inside,
        results=tables or [_results(groups), *learned(groups)],
        happened=_happened(runs, groups),
        each_run=_each_run(runs) if len(runs) > 1 else None,
        settings=_settings(runs, groups),
        defaults=_defaults(runs),
        reproduce=[_Again.of(label, members) for label, members in groups.items() if not members[0].watched],
        environment=_environment(runs),
    )
    return text


# --- figures ------------------------------------------------------------------------------------------


class _Picture(NamedTuple):
    name: str
    summary: str
    caption: str
    svgs: Sequence[str]  # a wide picture comes twice: for a wide page and, stacked, for a narrow one

    @property
    def wide(self) -> bool:
        return len(self.svgs) > 1


def _pictures(runs: Sequence[Run], groups: Mapping[str, Sequence[Run]]) -> tuple[list[_Picture], list[_Picture]]:
    """The figures that have something to show: those to see at once, and those to unfold."""
    first = ("three_axes", *FRONT[1:]) if len(groups) > 1 else FRONT
    others = [name for name in PLOTS if name not in (*first, EVIDENCE) and (name != "three_axes" or len(groups) > 1)]
    shown = {name: _picture(name, runs) for name in (*first, *others)}
    return (
        [picture for name in first if (picture := shown[name])],
        [picture for name in others if (picture := shown[name])],
    )


def _picture(name: str, runs: Sequence[Run]) -> _Picture | None:
    draw, markup = PLOTS[name], optional("markupsafe", "report", "Writing a report").Markup
    drawn = [draw(runs), draw(runs, stacked=True)] if name == "three_axes" else [draw(runs)]
    if drawn[0].blank:
        return None
    caption, words = drawn[0].caption, name.replace("_", " ").capitalize()
    label = html.escape(f"{words}. {caption}")
    svgs = [figure.svg(salt=f"{name}-{number}") for number, figure in enumerate(drawn)]
    named = [markup(svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)) for svg in svgs]
    return _Picture(words, PLOTS.summary(name), caption, named)


# --- diagnosis ----------------------------------------------------------------------------------------


class _Doctor(NamedTuple):
    """What the doctor says of one run: a fragment of HTML, and the figure of the evidence, if there is one."""

    says: str
    picture: _Picture | None


def _doctor(run: Run) -> _Doctor:
    markup = optional("markupsafe", "report", "Writing a report").Markup
    return _Doctor(markup(diagnose(run)._repr_html_()), _picture(EVIDENCE, [run]))


def _diagnoses(groups: Mapping[str, Sequence[Run]]) -> Table:
    """What was found in the runs of each variant."""
    rows = []
    for label, members in groups.items():
        found = Counter(finding.check for run in members for finding in diagnose(run).findings)
        rows.append(
            [label, ", ".join(f"{check}{_share(count, members)}" for check, count in found.items()) or "nothing"]
        )
    return Table("What the doctor found", ["", "problems"], rows)


def _share(count: int, members: Sequence[Run]) -> str:
    return "" if count == len(members) else f" ({count} of {len(members)} runs)"


# --- words --------------------------------------------------------------------------------------------


def _title(runs: Sequence[Run], groups: Mapping[str, Sequence[Run]]) -> str:
    if len(runs) == 1:
        return runs[0].name
    data = sorted({str(fields(run)["data"]) for run in runs if "data" in fields(run)})
    count = f"{len(groups)} variants" if len(groups) > 1 else f"{len(runs)} runs"
    return f"{count} on {', '.join(data)}" if data else count


def _headline(runs: Sequence[Run], groups: Mapping[str, Sequence[Run]]) -> list[str]:
    """What was trained, how it ended, and what is wrong with it."""
    what = _what(runs)
    if len(runs) == 1:
        return [f"{what}. {_ending(runs[0])}", *_beyond(runs)]
    return [f"{what}: {len(runs)} runs of {len(groups)} variants. {_tally(map(_status, runs))}.", *_beyond(runs)]


def _what(runs: Sequence[Run]) -> str:
    """What was trained: "Trained mlp on moons with adam"; of a loop that was watched, as far as it is known."""
    every = [fields(run) for run in runs]
    used = {part: " and ".join(dict.fromkeys(str(each[part]) for each in every if part in each)) for part in PARTS}
    verb = "Watched the training of" if all(run.watched for run in runs) else "Trained"
    words = [(verb, used["model"] or "a model"), ("on", used["data"]), ("with", used["optimizer"])]
    return " ".join(f"{joint} {part}" for joint, part in words if part)


def _beyond(runs: Sequence[Run]) -> list[str]:
    """The limits that a learning rate is beyond, each once."""
    limits = [note.details for run in runs for note in run.notes("limit") if note.details["beyond"]]
    return list(dict.fromkeys(limit["sentence"] for limit in limits))


def _status(run: Run) -> str:
    return "diverged" if run.status == DIVERGED else run.status


def _ending(run: Run) -> str:
    """How a run ended, as a sentence."""
    notes = run.notes("ended")
    updates = f"{run.steps:,} update{'' if run.steps == 1 else 's'}"
    if run.status in ("running", "killed") or not notes:
        return f"Still running, at {updates}." if run.status == "running" else f"Killed after {updates}."
    details = notes[-1].details
    seconds = f" in {number(details['seconds'])} seconds" if "seconds" in details else ""
    error = f": {details['error']}" if "error" in details else ""
    if run.status == DIVERGED:
        return f"Diverged after {updates}{seconds}."
    return f"{run.status.capitalize()} after {updates}{seconds}{error}."


def _sentence(note: Note) -> str:
    """What a note says, in words."""
    details = note.details
    if "sentence" in details:
        return str(details["sentence"])
    more = ", ".join(f"{name} {value}" for name, value in details.items())
    return f"{note.kind.capitalize().replace('_', ' ')} at update {note.step:,}{': ' if more else ''}{more}."


def _happened(runs: Sequence[Run], groups: Mapping[str, Sequence[Run]]) -> list[str]:
    """Every note but those that tables show, each sentence once for each variant, with how many runs it is true of."""
    sentences: list[str] = []
    for label, members in groups.items():
        told = Counter(sentence for run in members for sentence in dict.fromkeys(_story(run, alone=len(runs) == 1)))
        for sentence, count in told.items():
            sentences.append(sentence if len(groups) == 1 else f"{label}: {sentence}{_share(count, members)}")
    return sentences or [f"All {len(runs)} runs went through without an incident."]


def _story(run: Run, *, alone: bool) -> list[str]:
    told = [_sentence(note) for note in run.notes() if note.kind not in UNTOLD]
    quiet = run.status in ("finished", "early stopped", "target reached") and not alone
    return told if quiet else [*told, _ending(run)]


def _environment(runs: Sequence[Run]) -> str:
    """On what the runs were made."""
    started = [note.details for run in runs for note in run.notes("started")]
    if not started:
        return "It is not recorded on what machine this was run."
    said = dict.fromkeys(
        _machine(details) + ", ".join(f"{package} {release}" for package, release in details["versions"].items())
        for details in started
    )
    return f"Trained {'; '.join(said)}."


def _machine(started: Mapping[str, Any]) -> str:
    """The device and its threads, which are not known of a loop that was only watched."""
    if "device" not in started:
        return "with "
    return f"on {started['device']} with {started['threads']} thread{'' if started['threads'] == 1 else 's'}, "


# --- tables -------------------------------------------------------------------------------------------


def _cell(value: object) -> str:
    """A table's cell: numbers with as many digits as a reader needs, an en dash for nothing."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return number(value, 4) if isinstance(value, float) else str(value)


def _results(groups: Mapping[str, Sequence[Run]]) -> Table:
    """One row a variant: how its runs ended, and the median of what they came to."""
    every = [run for members in groups.values() for run in members]
    recorded = [name for name in MEASURES if any(len(series(run, name).x) for run in every)]
    seeds = [] if len(every) == 1 else ["seeds"]
    title = "Where it ended" if len(every) == 1 else "Where each variant ended, median over its seeds"
    columns = ["", *seeds, "ended", "updates", "seconds", *(MEASURES[name] for name in recorded)]
    rows = [
        [
            label,
            *([_seeds(members)] if seeds else []),
            _tally(map(_status, members)),
            int(median([run.steps for run in members])),
            median([run.seconds for run in members]),
            *(_came_to([last(run, name) for run in members]) for name in recorded),
        ]
        for label, members in groups.items()
    ]
    return Table(title, columns, rows)


def _tally(words: Iterable[str]) -> str:
    counts = Counter(words)
    return ", ".join(f"{count} {word}" for word, count in counts.items()) if counts.total() > 1 else "".join(counts)


def _came_to(values: Sequence[float], digits: int = 4) -> str:
    """The median of what the runs of a variant came to, in words; empty where nothing is known."""
    middle = median(values)
    return "" if math.isnan(middle) else "diverged" if math.isinf(middle) else number(middle, digits)


def _seeds(runs: Sequence[Run]) -> str:
    return ", ".join(str(seed) for seed in sorted({fields(run).get("seed", "") for run in runs}, key=str))


def learned(groups: Mapping[str, Sequence[Run]]) -> list[Table]:
    """Learned parameters beside the true ones, where these are known: no table or one."""
    every = [run for members in groups.values() for run in members]
    true = truth(every)
    features = [feature for feature in places(every, "learned") if feature in true]
    if not features:
        return []
    found = [
        {feature: [last(run, f"learned/{feature}") for run in members] for feature in features}
        for members in groups.values()
    ]
    rows = [
        [feature, f"{true[feature]:g}", *(_came_to(each[feature], digits=6) for each in found)] for feature in features
    ]
    errors = [max(abs(value - true[feature]) for feature in features for value in each[feature]) for each in found]
    one = len(every) == 1
    return [
        Table(
            "Learned parameters" if one else "Learned parameters, median over the seeds",
            ["", "true", *(["learned"] if one else groups)],
            [
                *rows,
                ["largest error" if one else "largest error of any seed", "", *(_came_to([error]) for error in errors)],
            ],
        )
    ]


def _each_run(runs: Sequence[Run]) -> Table:
    rows = [
        [run.name, fields(run).get("seed"), _status(run), run.steps, run.seconds, _came_to([last(run, "loss/train")])]
        for run in runs
    ]
    return Table("Every run", ["", "seed", "ended", "updates", "seconds", "training loss"], rows)


def _settings(runs: Sequence[Run], groups: Mapping[str, Sequence[Run]]) -> list[Table]:
    """What sets the variants apart, then what was chosen for all of them."""
    every = {label: fields(members[0]) for label, members in groups.items()}
    names = differing(list(every.values()))
    apart = [[name, *(as_text(each.get(name, "")) for each in every.values())] for name in names]
    chosen = {name for members in groups.values() for name in members[0].settings}
    common = [[name, value] for name, value in _common(runs).items() if name in chosen]
    seeds = [["seed", seeds]] if (seeds := _seeds(runs)) else []
    tables = [Table("What sets them apart", ["", *every], apart)] if len(every) > 1 else []
    return [*tables, Table("Chosen for all" if tables else "Chosen", ["", "value"], [*common, *seeds])]


def _defaults(runs: Sequence[Run]) -> Table:
    chosen = {name for run in runs for name in run.settings}
    rows = [[name, value] for name, value in _common(runs).items() if name not in chosen]
    return Table("Left as they are by default", ["", "value"], rows)


def _common(runs: Sequence[Run]) -> dict[str, str]:
    """The settings in which no two runs differ, in words; the seed is not one."""
    every = [fields(run) for run in runs]
    merged: dict[str, Value] = {name: value for each in every for name, value in each.items()}
    apart = {"seed", *differing(every)}
    return {name: as_text(value) for name, value in merged.items() if name not in apart}


class _Again(NamedTuple):
    """How to train one variant again."""

    label: str
    command: str
    toml: str

    @classmethod
    def of(cls, label: str, members: Sequence[Run]) -> _Again:
        recipe = members[0].recipe
        flags = [flag for name, flag in zip(recipe, recipe.to_flags(), strict=True) if name in recipe.chosen()]
        seeds = f" (seeds {_seeds(members)}; here the first)" if len(members) > 1 else ""
        return cls(label + seeds, shlex.join(["descend", "train", *flags]), recipe.to_toml())
