"""Every colour of text can be read on every background it stands on."""

from pathlib import Path

import pytest
from rich.color import Color, ColorSystem

from dhtchat.errors import BadUsage
from dhtchat.tui.themes import DARK, DARK_16, LIGHT, LIGHT_16, Palette, choose


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def as_shown(colour: str, system: ColorSystem) -> str:
    """What a terminal of so many colours makes of it."""
    return Color.parse(colour).downgrade(system).get_truecolor().hex


@pytest.mark.parametrize(
    "palette, system",
    [
        *((palette, system) for palette in (DARK, LIGHT) for system in (ColorSystem.TRUECOLOR, ColorSystem.EIGHT_BIT)),
        (DARK_16, ColorSystem.STANDARD),
        (LIGHT_16, ColorSystem.STANDARD),
    ],
    ids=["dark", "dark, 256", "light", "light, 256", "dark, 16", "light, 16"],
)
def test_contrast_is_at_least_what_wcag_aa_asks(palette: Palette, system: ColorSystem) -> None:
    texts = {palette.text, palette.faint, palette.accent, palette.warning, palette.error, *palette.people}
    for text in texts:
        for background in (palette.background, palette.panel):
            seen = as_shown(text, system), as_shown(background, system)
            high, low = sorted(map(luminance, seen), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, f"{text} on {background}"


def test_a_theme_is_chosen_by_name_by_the_terminal_or_from_a_file(tmp_path: Path) -> None:
    assert choose("dark", tmp_path, {"COLORFGBG": "0;15"}) == (DARK, True)
    assert choose("light", tmp_path, {}) == (LIGHT, False)
    assert choose("auto", tmp_path, {}) == choose("auto", tmp_path, {"COLORFGBG": "15;0"}) == (DARK, True)
    assert choose("auto", tmp_path, {"COLORFGBG": "0;default;15"}) == (LIGHT, False)
    (tmp_path / "mine.toml").write_text('like = "light"\npeople = ["#112233"]\ntext = "#000000"\n', encoding="utf-8")
    palette, is_dark = choose("mine.toml", tmp_path, {})
    assert palette == LIGHT._replace(people=("#112233",), text="#000000")
    assert not is_dark
    for wrong in ('text = "red"', "colour = 1", "["):
        (tmp_path / "mine.toml").write_text(wrong, encoding="utf-8")
        with pytest.raises(BadUsage, match=r"mine\.toml"):
            choose("mine.toml", tmp_path, {})
    with pytest.raises(BadUsage, match="cannot read"):
        choose("none.toml", tmp_path, {})
