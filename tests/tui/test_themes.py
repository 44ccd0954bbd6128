"""Every colour of text can be read on every background it stands on."""

import pytest

from dhtchat.tui.themes import DARK, LIGHT, Palette


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("palette", [DARK, LIGHT], ids=["dark", "light"])
def test_contrast_is_at_least_what_wcag_aa_asks(palette: Palette) -> None:
    texts = {palette.text, palette.faint, palette.accent, palette.warning, palette.error, *palette.people}
    for text in texts:
        for background in (palette.background, palette.panel):
            high, low = sorted((luminance(text), luminance(background)), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, f"{text} on {background}"
