"""A figure as the bytes of a file: PNG, or SVG whose ink and paper follow the reader's light or dark mode."""

import io
import re
import warnings
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What a colour of a drawing becomes on dark paper; colours that are not named here are seen on both.
_DARK = {
    "#000000": "#dddddd",  # ink
    "#ffffff": "#16181c",  # paper
    "#0072b2": "#3d9be0",  # the darkest of the colours of curves
    "#777777": "#9a9a9a",
    "#b0b0b0": "#5a5f69",  # grids
    "#cccccc": "#4a4e57",  # frames of legends
    "#cfe3f3": "#24435c",  # boxes of words and of symbols, which have ink on them
    "#f6dcc8": "#5c3d28",
}


def drawn(figure: "Figure", kind: Literal["png", "svg"]) -> bytes:
    """Return the figure as the bytes of a file; the same figure gives the same bytes, so that reports can be compared.

    An SVG has its colours as variables, which a style of its own sets for light and for dark mode.
    """
    import matplotlib

    metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {"Software": None}
    picture = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "wav2vec2"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the picture shows a box instead
        # a figure with a layout engine has nothing outside its edges
        box = None if figure.get_layout_engine() is not None else "tight"
        figure.savefig(picture, format=kind, dpi=150, bbox_inches=box, metadata=metadata)
    content = picture.getvalue()
    return _in_both_modes(content.decode("utf-8")).encode("utf-8") if kind == "svg" else content


def _in_both_modes(svg: str) -> str:
    names = {color: f"var(--c{color[1:]})" for color in _DARK}
    # only in attributes of style: a text may name a colour, too
    svg = re.sub(r'style="[^"]*"', lambda found: re.sub("#[0-9a-f]{6}", lambda c: names.get(c[0], c[0]), found[0]), svg)
    light = "".join(f"--c{color[1:]}:{color};" for color in _DARK)
    dark = "".join(f"--c{color[1:]}:{other};" for color, other in _DARK.items())
    # shapes without a colour of their own, such as the letters, are ink
    style = (
        f"<style>svg{{color-scheme:light dark;{light}fill:var(--c000000)}}"
        f"@media (prefers-color-scheme: dark){{svg{{{dark}}}}}</style>"
    )
    return re.sub(r"(<svg\b[^>]*>)", lambda found: found[1] + style, svg, count=1)
