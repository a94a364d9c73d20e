"""`reconciler completion SHELL`: a script that completes commands, flags and their choices.

Generated from the parser itself, so that it knows what the command knows. zsh uses bash's script
through its own bashcompinit.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Mapping

Commands = Mapping[str, argparse.ArgumentParser]

BASH = """\
_reconciler() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words=
    if ((COMP_CWORD == 1)); then
        words={commands}
    else
        case "${{COMP_WORDS[1]}} $before" in
{choices}
        *) case "${{COMP_WORDS[1]}}" in
{flags}
            esac ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _reconciler reconciler
"""
ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


def script_of(shell: str, parser: argparse.ArgumentParser) -> str:
    """The script for one shell."""
    return SHELLS[shell](commands_of(parser))


def commands_of(parser: argparse.ArgumentParser) -> Commands:
    """The commands of a parser, by name."""
    (found,) = [one.choices for one in parser._actions if isinstance(one.choices, dict)]
    return found


def _bash(commands: Commands) -> str:
    choices, flags = [], []
    for name, command in commands.items():
        words: list[str] = []
        for action in command._actions:
            words += action.option_strings or list(map(str, action.choices or ()))
            if action.choices and action.option_strings:
                after = " | ".join(shlex.quote(f"{name} {flag}") for flag in action.option_strings)
                values = shlex.quote(" ".join(map(str, action.choices)))
                choices.append(f"        {after}) words={values} ;;")
        flags.append(f"            {name}) words={shlex.quote(' '.join(words))} ;;")
    return BASH.format(
        commands=shlex.quote(" ".join(commands)),
        choices="\n".join(choices),
        flags="\n".join(flags),
    )


def _zsh(commands: Commands) -> str:
    return ZSH + _bash(commands)


def _fish(commands: Commands) -> str:
    lines = []
    for name, command in commands.items():
        text = _fish_quoted(command.description or "")
        lines.append(f"complete -c reconciler -f -n __fish_use_subcommand -a {name} -d {text}")
        for action in command._actions:
            line = f"complete -c reconciler -n '__fish_seen_subcommand_from {name}'"
            for flag in action.option_strings:
                line += f" -l {flag[2:]}" if flag.startswith("--") else f" -s {flag[1:]}"
            if action.choices:
                line += f" -x -a {_fish_quoted(' '.join(map(str, action.choices)))}"
            elif action.option_strings and action.nargs != 0:
                line += " -r"
            if action.option_strings or action.choices:
                lines.append(line + (f" -d {_fish_quoted(action.help)}" if action.help else ""))
    return "\n".join(lines) + "\n"


def _fish_quoted(text: str) -> str:
    """Quotes for fish, where single quotes still let a backslash escape a quote or a backslash."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS: dict[str, Callable[[Commands], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
