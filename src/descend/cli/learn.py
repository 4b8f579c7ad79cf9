"""descend learn: exercises that check themselves, a chapter at a time."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

from descend.cli._command import Command, json_flag
from descend.cli._print import print_json, text_width
from descend.errors import nearest

if TYPE_CHECKING:
    import descend.learn
    import descend.learn._folder
    import descend.learn._judge

EXAMPLES = (
    "descend learn",
    "descend learn 2.1",
    "descend learn hint 2.1",
)

ACTIONS: Final = ("check", "hint")
PRINTED: Final = 10  # lines of what the reader's code printed


class Word(click.ParamType[str]):
    """check, hint, or an exercise."""

    name = "word"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from descend.learn import path

        typed = ctx.params.get("words") or ()
        exercises = path()
        numbers = [exercise.number for exercise in exercises.values()]
        known = [*(() if typed else ACTIONS), *numbers, *exercises]
        return [CompletionItem(word) for word in known if word.startswith(incomplete)]


@click.command(cls=Command, examples=EXAMPLES, short_help="Exercises that check themselves, and how far you have come.")
@click.argument("words", metavar="[check | hint] [EXERCISE]", type=Word(), nargs=-1)
@click.option(
    "--into", metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False), help="Where your files are. [learn]"
)
@click.option("--again", is_flag=True, help="Begin anew; the file you have is kept beside it.")
@json_flag
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...], into: Path | None, again: bool, as_json: bool) -> None:
    """Show the exercises of the course, open one, check it, or give a hint.

    `descend learn 2.1` opens an exercise: a short file to complete. `descend learn check` runs it on hidden data and
    says which property fails, with what was observed and what was expected; exit code 1 means that one does.
    `descend learn hint` gives one hint more each time. Both take the exercise you were last at, or the one you name.
    """
    from descend.learn._folder import LearnFolder

    action, wanted = _understood(words)
    if again and action != "open":
        raise click.UsageError("--again opens an exercise anew, so name one: descend learn 2.1 --again.")
    folder = LearnFolder(into) if into else LearnFolder.here()
    if folder.damaged:
        click.echo(folder.damaged, err=True)
    passed = True
    if action == "list":
        _list(folder, as_json)
    elif action == "open":
        _open(folder, wanted, again, as_json)
    elif action == "hint":
        _hint(folder, wanted or _last(folder), as_json)
    else:
        passed = _check(folder, wanted or _last(folder), as_json)
    if folder.unsaved:
        click.echo(folder.unsaved, err=True)
    if not passed:
        ctx.exit(1)


def _understood(words: tuple[str, ...]) -> tuple[str, str]:
    """What is to be done, and the name of the exercise to do it with."""
    from descend.learn import find

    if len(words) > 2 or (len(words) == 2 and words[0] not in ACTIONS):
        raise click.UsageError(f"Name one exercise, or check or hint before it, but not '{' '.join(words)}'.")
    if not words:
        return "list", ""
    if words[0] in ACTIONS:
        return words[0], find(words[1]) if len(words) == 2 else ""
    near = nearest(words[0], ACTIONS)
    if near and not words[0][:1].isdigit():
        raise click.UsageError(f"There is no '{words[0]}' in learn. Did you mean '{near}'?")
    return "open", find(words[0])


def _last(folder: descend.learn._folder.LearnFolder) -> str:
    from descend.learn import path

    if not folder.last:
        first = next(iter(path().values())).number
        raise click.UsageError(
            f"No exercise is open in {folder.folder.absolute()}. Open one: descend learn {first}{folder.flag()}"
        )
    return folder.last


# --- the list ---------------------------------------------------------------------------------------------------------


def _list(folder: descend.learn._folder.LearnFolder, as_json: bool) -> None:
    from descend.learn import CHAPTERS, path

    exercises = path()
    if as_json:
        print_json(_overview(folder))
        return
    states = {name: folder.state(name) for name in exercises}
    done = list(states.values()).count("passed")
    click.echo(f"{done} of {len(exercises)} exercises passed.")
    for chapter in CHAPTERS:
        names = [name for name, exercise in exercises.items() if exercise.chapter == chapter]
        passed = sum(states[name] == "passed" for name in names)
        click.echo()
        head = f"{chapter.number}  {chapter.title}"
        count = f"{passed}/{len(names)} passed" if names else ""
        click.secho(f"{head:<57}{chapter.minutes:>4} min  {count}".rstrip(), bold=True)
        click.echo(f"   {chapter.file}")
        for name in names:
            exercise = exercises[name]
            state = "" if states[name] == "untouched" else states[name]
            click.echo(f"   {exercise.number:<5}{exercise.title:<49}{exercise.minutes:>4} min  {state}".rstrip())
    click.echo()
    click.echo(_what_next(folder))


def _overview(folder: descend.learn._folder.LearnFolder) -> dict[str, Any]:
    from descend.learn import CHAPTERS, path

    exercises = path()
    chapters = [
        asdict(chapter)
        | {"exercises": [_about(folder, name) for name, exercise in exercises.items() if exercise.chapter == chapter]}
        for chapter in CHAPTERS
    ]
    following = folder.next()
    return {
        "folder": str(folder.folder),
        "passed": sum(folder.state(name) == "passed" for name in exercises),
        "exercises": len(exercises),
        "last": exercises[folder.last].number if folder.last else None,
        "next": exercises[following].number if following else None,
        "chapters": chapters,
    }


def _about(folder: descend.learn._folder.LearnFolder, name: str) -> dict[str, Any]:
    from descend.learn import path

    exercise, mark = path()[name], folder.mark(name)
    return {
        "number": exercise.number,
        "name": name,
        "title": exercise.title,
        "minutes": exercise.minutes,
        "place": exercise.place,
        "state": folder.state(name),
        "checks": mark.checks,
        "hints": mark.hints,
    }


def _what_next(folder: descend.learn._folder.LearnFolder) -> str:
    from descend.learn import path

    if not (name := folder.next()):
        return "You have passed them all."
    exercise = path()[name]
    if folder.state(name) == "opened":
        number = "" if name == folder.last else f" {exercise.number}"
        return f"Next: complete {folder.file(name)}, then: descend learn check{number}{folder.flag()}"
    return f"Next: descend learn {exercise.number}{folder.flag()}  ({exercise.title}, {exercise.minutes} min)"


# --- one exercise -----------------------------------------------------------------------------------------------------


def _open(folder: descend.learn._folder.LearnFolder, name: str, again: bool, as_json: bool) -> None:
    from descend.learn import path

    opened, exercise = folder.open(name, again=again), path()[name]
    if as_json:
        files = {"file": str(opened.file), "new": opened.new, "kept": str(opened.kept) if opened.kept else None}
        print_json(_about(folder, name) | files | {"task": exercise.task.strip()})
        return
    click.secho(f"{exercise.number} {exercise.title} ({exercise.minutes} min)", bold=True)
    click.echo()
    _say(exercise.task)
    click.echo()
    click.echo(f"In the book:  {exercise.place}")
    click.echo(f"Your file:    {opened.file}{'' if opened.new else '  (as you left it; --again begins anew)'}")
    if opened.kept:
        click.echo(f"Kept:         {opened.kept}")
    click.echo(f"Check it:     descend learn check{folder.flag()}")
    click.echo(f"A hint:       descend learn hint{folder.flag()}")


def _hint(folder: descend.learn._folder.LearnFolder, name: str, as_json: bool) -> None:
    from descend.learn import path

    exercise = path()[name]
    rung, new = folder.next_hint(name)
    if as_json:
        hints = {"rung": rung, "rungs": len(exercise.hints), "hint": exercise.hints[rung - 1].strip()}
        print_json({"number": exercise.number} | hints)
        return
    last = "" if rung < len(exercise.hints) else ", the last" if new else ", the last again"
    click.secho(f"{exercise.number} {exercise.title}: hint {rung} of {len(exercise.hints)}{last}", bold=True)
    _say(exercise.hints[rung - 1])


def _check(folder: descend.learn._folder.LearnFolder, name: str, as_json: bool) -> bool:
    """Whether it has passed."""
    from descend.learn import path
    from descend.learn._trial import check

    exercise, file = path()[name], folder.file(name)
    verdict, printed = check(name, file)
    folder.checked(name, passed=verdict.passed)
    if as_json:
        following = folder.next()
        told = {"number": exercise.number, "file": str(file), "passed": verdict.passed} | asdict(verdict)
        told |= {"printed": printed, "next": path()[following].number if following else None}
        print_json(told | ({"explanation": exercise.explanation.strip()} if verdict.passed else {}))
        return verdict.passed
    _show_printed(printed)
    if verdict.passed:
        click.secho(f"{exercise.number} {exercise.title}: passed. {verdict.sentence}", bold=True)
        click.echo()
        _say(exercise.explanation)
        click.echo()
        click.echo(f"In the book: {exercise.place}")
        click.echo(_what_next(folder))
    else:
        _show_refusal(exercise, verdict, file)
        if verdict.kind != "unavailable":
            of = "" if name == folder.last else f" {exercise.number}"
            click.echo(f"A hint: descend learn hint{of}{folder.flag()}")
    return verdict.passed


def _show_refusal(exercise: descend.learn.Exercise, verdict: descend.learn._judge.Verdict, file: Path) -> None:
    click.secho(f"{exercise.number} {exercise.title}: not yet.", bold=True)
    if verdict.what:
        click.echo(f"  property  {verdict.what}")
        click.echo(f"  observed  {verdict.observed}")
        click.echo(f"  expected  {verdict.expected}")
        if verdict.checked:
            many = "1 property" if verdict.checked == 1 else f"{verdict.checked} properties"
            click.echo(f"  ({many} before it held.)")
        return
    _say(verdict.sentence)
    if verdict.line is not None:
        click.echo(f"  {file}, line {verdict.line}: {verdict.code}")


def _show_printed(printed: str) -> None:
    lines = printed.splitlines()
    if lines:
        click.echo("Your file printed:")
        for line in lines[:PRINTED]:
            click.echo(f"  {line[: text_width() - 2]}")
        if len(lines) > PRINTED:
            click.echo("  ...")


def _say(text: str) -> None:
    from descend.learn._exercise import paragraphs

    click.echo(paragraphs(text, text_width()))
