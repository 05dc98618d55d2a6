"""The two kinds of control, native and labeled: a slider, and a choice from a list."""

import math
from dataclasses import dataclass
from html import escape

from minillm.live.text import number

KEYS = "data-lm-suppress-shortcuts"  # JupyterLab, leave the keys to the element that has the focus


@dataclass(frozen=True)
class Slider:
    """A range input. With `log`, equal ways on the slider multiply the value equally.

    A browser counts steps from the low end, so ends and start are moved to whole steps.
    """

    name: str
    label: str
    low: float
    high: float
    value: float
    step: float = 0.01  # of the slider: of log10(value) with `log`
    digits: int = 2
    log: bool = False

    def place(self, value):
        """Where the slider stands for a value: at a whole step."""
        return round(round((math.log10(value) if self.log else value) / self.step) * self.step, 9)

    @property
    def start(self):
        """The value that the slider starts with."""
        place = self.place(min(max(self.value, self.low), self.high))
        return 10**place if self.log else place

    def html(self):
        """The labeled input, with its value in words beside it."""
        shown = number(self.start, self.digits)
        low, high, start = (f"{self.place(v):g}" for v in (self.low, self.high, self.start))
        return (
            f'<label><span>{escape(self.label)}</span> <b aria-hidden="true">{shown}</b>'
            f'<input type="range" name="{self.name}" min="{low}" max="{high}" step="{self.step:g}" '
            f'value="{start}" data-digits="{self.digits}"{" data-log" if self.log else ""} '
            f'aria-valuetext="{shown}" {KEYS}></label>'
        )


@dataclass(frozen=True)
class Choice:
    """A list to choose from: `options` maps what is passed on (a number or a word) to its text."""

    name: str
    label: str
    options: dict
    start: object

    def html(self):
        """The labeled list."""
        rows = "".join(
            f'<option value="{escape(str(key))}"{" selected" if key == self.start else ""}>'
            f"{escape(str(text))}</option>"
            for key, text in self.options.items()
        )
        select = f'<select name="{self.name}" {KEYS}>{rows}</select>'
        return f"<label><span>{escape(self.label)}</span>{select}</label>"
