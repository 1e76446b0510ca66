"""A badge for a README: a label and a message, as SVG with no font of its own."""

from html import escape

#: Dark enough for white text on it.
COLOURS = {"good": "#0a6348", "bad": "#a5301a", "quiet": "#566173"}
_HEIGHT, _SIGN, _MARGIN, _LONGEST = 20, 6.6, 7, 80


def badge(label: str, message: str, colour: str) -> str:
    """`colour`: good, bad or quiet. Long texts are cut."""
    texts = [text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…" for text in (label, message)]
    left, right = (round(len(text) * _SIGN + 2 * _MARGIN) for text in texts)
    label, message = (escape(text) for text in texts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="{_HEIGHT}" role="img" '
        f'aria-label="{label}: {message}"><title>{label}: {message}</title>'
        f'<rect width="{left + right}" height="{_HEIGHT}" rx="4" fill="#3a4555"/>'
        f'<path d="M{left} 0h{right - 4}a4 4 0 0 1 4 4v12a4 4 0 0 1-4 4h-{right - 4}z" fill="{COLOURS[colour]}"/>'
        '<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="{left / 2:g}" y="14">{label}</text>'
        f'<text x="{left + right / 2:g}" y="14">{message}</text></g></svg>\n'
    )
