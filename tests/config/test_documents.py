"""The commands in README.md and docs/ can be typed, and what they name exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.cli import main as cli
from reconciler.cli.parser import build_parser
from reconciler.domain.decision import HoldReason
from reconciler.domain.protections.protection import Kind
from tests import diagrams

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def shell_lines() -> Iterator[list[str]]:
    """Every command of the README's shell blocks, without its comment."""
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


def spoken() -> Iterator[list[str]]:
    """Every `reconciler ...` in the prose of all documents, if it is a whole command. The
    docstrings of modules name commands by their shape."""
    for document in (one for one in DOCUMENTS if one.name != "modules.md"):
        for text in re.findall(r"`reconciler ([a-z][^`]*)`", document.read_text()):
            if "…" not in text and "[" not in text:
                yield shlex.split(text.partition(" > ")[0].rstrip(")"))


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_readme_shows_commands() -> None:
    """The blocks are found at all, so that the tests below check something."""
    assert {words[0] for words in shell_lines()} == {"make", "reconciler"}


@pytest.mark.parametrize("words", list(shell_lines()), ids=" ".join)
def test_a_line_of_the_readme_can_be_typed(words: list[str]) -> None:
    """The target exists, or the command takes these flags."""
    if words[0] == "make":
        assert set(words[1:]) <= targets()
    else:
        assert build_parser().parse_args(words[1:]).command


def test_what_the_prose_calls_a_command_is_one() -> None:
    """`reconciler ...` in backquotes parses, where the flags are spelled out."""
    for words in spoken():
        arguments = [word for word in words if not word.isupper()]
        needs = {"explain": ["nginx"], "check": ["f.yaml"], "diff": ["f.yaml"]}
        if len(arguments) == 1:
            arguments += needs.get(arguments[0], [])
        assert build_parser().parse_args(arguments).command, words


def test_the_readmes_check_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    """The first command that a reader tries, run as it is written."""
    (words,) = [words for words in shell_lines() if words[:2] == ["reconciler", "check"]]
    assert words[2:] == ["config/policy.yaml"]
    assert cli.main(["check", str(ROOT / words[2])]) == 0
    assert "valid, mode observe" in capsys.readouterr().out


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_link_leads_nowhere(document: Path) -> None:
    """Every file that a document links to is in the project, and every heading is in that file."""
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        file = document.parent / name if name else document
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert anchor in {heading.lower().replace(" ", "-") for heading in headings}, target


def test_every_reason_to_keep_or_to_hold_is_explained() -> None:
    """A word that the program prints is found in the documents that explain such words."""
    architecture = (ROOT / "docs/architecture.md").read_text()
    commands = (ROOT / "docs/commands.md").read_text()
    assert [one.value for one in HoldReason if f"| `{one.value}` |" not in architecture] == []
    assert [one.value for one in Kind if f'"{one.value}"' not in commands] == []
    assert [one.value for one in Kind if one.value not in README] == []


def test_every_log_event_is_explained() -> None:
    """The names of log lines are a contract: each one in the code is in the table."""
    architecture = (ROOT / "docs/architecture.md").read_text()
    call = r"(?:_log|log)\.(?:info|warning|error)\(\s*\"([a-z-]+)\""
    trouble = r"_trouble\(\s*\"([a-z-]+)\""
    events = {
        found[0] or found[1]
        for path in (ROOT / "reconciler").rglob("*.py")
        for found in re.findall(f"{call}|{trouble}", path.read_text())
    }
    undocumented = sorted(event for event in events if f"`{event}`" not in architecture)
    assert not undocumented, f"add to docs/architecture.md, log events: {undocumented}"


def test_every_command_and_flag_is_documented() -> None:
    """docs/commands.md names each of them."""
    commands = (ROOT / "docs/commands.md").read_text()
    parser = build_parser()
    (choices,) = [one.choices for one in parser._actions if isinstance(one.choices, dict)]
    undocumented = [
        f"{name} {flag}"
        for name, command in choices.items()
        for action in command._actions
        for flag in action.option_strings
        if flag not in {"-h", "--help"} and flag not in commands
    ]
    undocumented += [
        name for name in choices if not re.search(rf"^## {name}\b", commands, re.MULTILINE)
    ]
    assert not undocumented, f"add to docs/commands.md: {undocumented}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_names_exists(document: Path) -> None:
    """Tests, modules and files of the project that are named in backquotes exist."""
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    gone = []
    for text in re.findall(r"`([^`\n]+)`", document.read_text()):
        if re.fullmatch(r"test_\w+", text):
            gone += [] if f"def {text}(" in tests else [text]
        elif re.fullmatch(r"(?:[\w.]+/)+[\w.-]+\.(?:py|yaml|service|md|lock|svg)", text):
            found = any((folder / text).exists() for folder in (ROOT, ROOT / "reconciler"))
            gone += [] if found else [text]
    assert not gone, f"{document.name} names what does not exist: {gone}"


def test_the_diagrams_of_the_architecture_are_what_the_tables_say() -> None:
    """One that is drawn by hand lags behind what the code does."""
    assert diagrams.PLACE.search(diagrams.FILE.read_text())
    assert diagrams.FILE.read_text() == diagrams.document(), "run: python -m tests.diagrams"
