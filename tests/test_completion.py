"""Shell completion in a real bash, and the examples that --help shows."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from reconciler.cli import main as cli
from reconciler.cli.completion import SHELLS, commands_of
from reconciler.cli.examples import EXAMPLES
from reconciler.cli.parser import build_parser
from tests.programs import output_of

LINES = [line for examples in EXAMPLES.values() for line, _ in examples]


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("pl", {"plan"}),
        ("plan --min", {"--minimum-age"}),
        ("plan --output ", {"table", "wide", "json"}),
        ("plan -o j", {"json"}),
        ("images --sort s", {"size", "seen"}),
        ("completion f", {"fish"}),
        ("check pol", set()),
    ],
)
def test_bash_completes(
    typed: str, offered: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tab offers what the command takes there, and leaves files to the shell."""
    file = tmp_path / "completion.bash"
    file.write_text(script("bash", capsys))
    output_of(["bash", "-n", str(file)])
    words = ["reconciler", *typed.split(" ")]
    asked = f"source {file}; COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; "
    asked += '_reconciler; echo "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "--norc", "-uc", asked], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split()) == offered


def test_a_description_for_fish_ends_where_it_should() -> None:
    """For fish, unlike sh, a backslash before a quote does not end the text: the remaining script
    was inside of it. Without a fish here, its two rules read the text back."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    text = "it's a \\ and 'one' more: \\"
    commands.add_parser("check", description=text)
    line = SHELLS["fish"](commands_of(parser)).splitlines()[0]
    found = re.fullmatch(r".* -d '((?:[^'\\]|\\[\\'])*)'", line)
    assert found is not None
    assert re.sub(r"\\(.)", r"\1", found[1]) == text


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A new command is completed without a second list to keep."""
    words = set(script(shell, capsys).replace("'", " ").split())
    assert set(commands_of(build_parser())) <= words


@pytest.mark.parametrize("line", LINES)
def test_an_example_of_the_help_can_be_typed(line: str) -> None:
    """What the help shows is valid as it is."""
    words = shlex.split(line.partition(" > ")[0])
    assert build_parser().parse_args(words).command


def test_every_command_has_examples_in_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    """They are of that command, and they are shown."""
    for name in commands_of(build_parser()):
        with pytest.raises(SystemExit):
            cli.main([name, "--help"])
        shown = capsys.readouterr().out
        for line, _ in EXAMPLES[name]:
            assert line.split()[0] == name
            assert f"  reconciler {line}" in shown
