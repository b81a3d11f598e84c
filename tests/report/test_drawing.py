import re

from matplotlib.figure import Figure

from wav2vec2.report.drawing import drawn


def figure() -> Figure:
    made = Figure(figsize=(2, 1))
    axes = made.subplots()
    axes.plot([1, 2], color="#0072B2")
    axes.plot([2, 1], color="#123456")
    axes.set_title("#ffffff")
    return made


def test_ink_and_paper_are_variables_with_a_value_for_each_mode() -> None:
    svg = drawn(figure(), "svg").decode()
    light, dark = re.search(r"<style>svg\{(.*?)\}@media \(prefers-color-scheme: dark\)\{svg\{(.*?)\}", svg).groups()
    for name in ("--c000000", "--cffffff", "--c0072b2"):
        assert f"{name}:#{name[3:]};" in light
        assert f"{name}:#" in dark
        assert f"{name}:#{name[3:]};" not in dark
        assert f"var({name})" in svg
    assert "#123456" in svg  # a colour of the caller's own
    assert drawn(figure(), "svg").decode() == svg


def test_a_picture_of_dots_is_a_png() -> None:
    assert drawn(figure(), "png").startswith(b"\x89PNG")
