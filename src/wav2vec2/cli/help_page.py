"""The help page of a command that takes a recipe: the options that most runs set come first, in a box of their own.

Such a command has a hundred options, a section each for data, batches, optimiser and so on, in the order of the recipe.
"""

import re

COMMON = (
    "data.manifest",
    "data.text",
    "init",
    "output",
    "train.updates",
    "batch.seconds",
    "batch.tokens",
    "train.lr",
    "train.precision",
)
"""Input, output, length of the training, and what decides whether it fits and succeeds."""
_OPTION = re.compile(r"│ (-[\w.-]+)")
_MORE = re.compile(r"│ {4,}\S")
_PLAIN = str.maketrans("╭╮╰╯│─", "    |-")


def common_first(page: str, *, frames: bool = True) -> str:
    """Return a help page of one column with the options of `COMMON` before all others.

    frames: around its parts; without them, for a terminal that cannot show them, plain lines take their place.
    """
    lines = page.splitlines()
    blocks: dict[str, list[str]] = {}
    kept: list[str] = []
    place = 0
    while place < len(lines):
        end = place + 1
        if found := _OPTION.match(lines[place]):
            while end < len(lines) and _MORE.match(lines[end]):
                end += 1
        name = found[1].lstrip("-") if found else ""
        if name in COMMON or name == "h":
            blocks[name] = lines[place:end]
        else:
            kept += lines[place:end]
        place = end
    top = next((number for number, line in enumerate(kept) if line.startswith("╭─ options ")), None)
    if top is None:
        return page
    title = "╭─ common options "
    first = title + kept[top][len(title) :].replace(" ", "─")
    bottom = next(line for line in kept[top:] if line.startswith("╰"))
    common = [line for name in ("h", *COMMON) for line in blocks.get(name, [])]
    ordered = "\n".join([*kept[:top], first, *common, bottom, *kept[top:]]) + "\n"
    return ordered if frames else ordered.translate(_PLAIN)
