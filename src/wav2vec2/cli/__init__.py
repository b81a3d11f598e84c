"""The command line: ``wav2vec2 COMMAND``."""

from wav2vec2.cli.commands import COMMANDS, Command
from wav2vec2.cli.program import entry, main

__all__ = ["COMMANDS", "Command", "entry", "main"]
