"""Completion by the Tab key: ``wav2vec2 completion SHELL`` prints a script for bash or zsh."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, arg


@dataclass(frozen=True)
class CompletionOptions:
    """Print a script that completes commands, options and file names when you press Tab.

        wav2vec2 completion bash > ~/.local/share/bash-completion/completions/wav2vec2
        wav2vec2 completion zsh >> ~/.zshrc

    The first line is for bash, the second for zsh; terminals opened afterwards know what to complete.
    """

    shell: Annotated[Literal["bash", "zsh"], Positional, arg(metavar="bash|zsh")]
    """The shell that you use."""


def run(options: CompletionOptions) -> None:
    """Print the script."""
    from wav2vec2.cli.arguments import option_names
    from wav2vec2.cli.commands import COMMANDS

    print(script(options.shell, {name: option_names(command) for name, command in COMMANDS.items()}), end="")


def script(shell: str, commands: Mapping[str, Sequence[str]]) -> str:
    """Return the script.

    Args:
        shell: bash or zsh; zsh runs bash's functions.
        commands: the options of each command.
    """
    first = sorted({name.partition(" ")[0] for name in commands} | {"help"})
    second: dict[str, list[str]] = {}
    for name in commands:
        group, _, rest = name.partition(" ")
        if rest:
            second.setdefault(group, []).append(rest)
    lines = ["autoload -U +X bashcompinit && bashcompinit"] if shell == "zsh" else []
    lines += [
        "_wav2vec2() {",
        '    local current="${COMP_WORDS[COMP_CWORD]}" words=""',
        "    if [ $COMP_CWORD -eq 1 ]; then",
        f'        words="{" ".join(first)}"',
        '    elif [ $COMP_CWORD -eq 2 ] && [[ "$current" != -* ]]; then',
        '        case "${COMP_WORDS[1]}" in',
        f'            help) words="{" ".join(first)}" ;;',
        *(f'            {group}) words="{" ".join(sorted(rest))}" ;;' for group, rest in sorted(second.items())),
        "        esac",
        '    elif [[ "$current" == -* ]]; then',
        '        case "${COMP_WORDS[1]} ${COMP_WORDS[2]}" in',
    ]
    # "report codes" before "report": the first that fits counts
    for name in sorted(commands, key=lambda name: (-name.count(" "), name)):
        pattern = f'"{name}"' if " " in name else f'"{name} "*'
        lines.append(f'            {pattern}) words="{" ".join(commands[name])}" ;;')
    lines += [
        "        esac",
        "    fi",
        '    COMPREPLY=($(compgen -W "$words" -- "$current"))',
        "}",
        "complete -o default -o bashdefault -F _wav2vec2 wav2vec2",
    ]
    return "\n".join(lines) + "\n"
