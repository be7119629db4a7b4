"""The HTML that a run's page is made of: its frame and style, sections, tables, figures."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape


def page(title: str, about: str, sections: Iterable[str], refresh: int = 0) -> str:
    """A whole page, which asks nothing of other files or of a network.

    Args:
        title: of the page; escaped here, as `about` is.
        about: what stands below it.
        sections: HTML.
        refresh: seconds after which a browser reads it again; 0 for never.
    """
    return "".join(stream(title, about, sections, refresh=refresh))


def stream(
    title: str, about: str, sections: Iterable[str], style: str = "", refresh: int = 0
) -> Iterator[str]:
    """A page piece by piece, for one that is large; with a style of its own besides the shared."""
    again = f'<meta http-equiv="refresh" content="{refresh}">\n' if refresh else ""
    yield _HEAD.format(
        title=escape(title), about=escape(about), style=_STYLE + style, refresh=again
    )
    yield from (f"{section}\n" for section in sections if section)
    yield "</body>\n</html>\n"


def section(title: str, *content: str) -> str:
    """A part of the page under a heading, which is escaped; the content is HTML."""
    return f"<section><h2>{escape(title)}</h2>\n" + "\n".join(content) + "\n</section>"


def figure(svg: str, note: str) -> str:
    """A picture and what is said below it, in HTML."""
    return f"<figure>{svg}<figcaption>{note}</figcaption></figure>"


def table(columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """A table of text, with a name for each column and row; all is escaped here."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "\n".join(
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for name, cells in rows.items()
    )
    return f'<div class="wide"><table><tr><th></th>{head}</tr>\n{body}</table></div>'


def matrix(names: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """A table with the same names for its columns and rows, of cells that are `<td>` elements."""
    heads = [f"<th>{escape(name)}</th>" for name in names]
    body = "".join(
        f"<tr>{head}{''.join(cells)}</tr>\n" for head, cells in zip(heads, rows, strict=True)
    )
    return (
        f'<div class="wide"><table class="confusion"><tr><th></th>{"".join(heads)}</tr>\n'
        f"{body}</table></div>"
    )


def listing(items: Iterable[str]) -> str:
    """What's bad, one below the other; text that is escaped here."""
    return f'<ul class="bad">{"".join(f"<li>{escape(item)}</li>" for item in items)}</ul>'


def facts(found: Mapping[str, str]) -> str:
    """Names, and beside each what it is; text that is escaped here."""
    listed = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in found.items())
    return f"<dl>{listed}</dl>"


def legend(samples: Mapping[str, str]) -> str:
    """What colours and lines mean: the style of each sample -> what is said beside it, in HTML."""
    spans = " ".join(
        f'<span class="key"><span style="{style}"></span>{said}</span>'
        for style, said in samples.items()
    )
    return f"<p>{spans}</p>"


def words(text: str) -> str:
    """A paragraph; text that is escaped here."""
    return f"<p>{escape(text)}</p>"


def details(summary: str, text: str) -> str:
    """Text as it is, shown when it's asked for."""
    return fold(summary, f"<pre>{escape(text)}</pre>")


def fold(summary: str, content: str) -> str:
    """HTML that is shown when it's asked for, under a text that is escaped here."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def number(value: float | None, form: str) -> str:
    """A number in that form, or a dash where there is none."""
    return "–" if value is None or math.isnan(value) else form.format(value)


_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
{refresh}<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p>{about}</p>
"""

_STYLE = """
:root { color-scheme: light dark; --line: #d4d4d8; --soft: #f4f4f5; --faint: #52525b }
@media (prefers-color-scheme: dark) {
  :root { --line: #3f3f46; --soft: #27272a; --faint: #a1a1aa }
  body { background: #18181b; color: #e4e4e7 }
}
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; padding: 0 1rem }
h1, h1 + p { margin: 0 } h2 { margin: 2.5rem 0 .75rem; font-size: 1.2rem }
p, figcaption, summary { color: var(--faint); font-size: .9rem }
.good, .bad { margin: 1rem 0; padding: .5rem 1rem; background: var(--soft); color: inherit }
.good { border-left: 4px solid #16a34a } .bad { border-left: 4px solid #ef4444 }
.bad { list-style: none } .bad li { margin: .25rem 0 }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem 1.25rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap }
th { font-weight: normal; color: var(--faint) } th:first-child { text-align: left; color: inherit }
td:nth-child(2) { font-weight: bold }
.confusion td { padding: .3rem .75rem; font-weight: normal }
.confusion small { color: var(--faint) }
.confusion th { padding: .3rem .75rem; white-space: normal; max-width: 10rem }
.confusion th:first-child { padding-left: 0 }
.bar { display: flex; height: 1.5rem; margin-bottom: .75rem }
.time th:first-child { white-space: normal } .sample { display: inline-block; width: .8em;
  height: .8em; margin-right: .5em }
details { margin-top: .75rem } details .wide { max-height: 30rem; overflow-y: auto }
.key { white-space: nowrap; margin-right: .75em }
.key span { display: inline-block; width: .8em; height: .8em; margin-right: .35em;
  box-sizing: border-box }
figure { margin: 0 } figure + figure { margin-top: 2rem } figcaption { margin-top: .75rem }
figcaption b { color: CanvasText }
svg { display: block; max-width: 100%; height: auto }
svg text { font-family: system-ui, sans-serif !important }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.25rem; font-size: .9rem }
dt { color: var(--faint) } dd { margin: 0 }
pre { padding: .75rem 1rem; background: var(--soft); font-size: .85rem; white-space: pre-wrap;
  overflow-wrap: anywhere }
details pre { white-space: pre; overflow-x: auto }
"""
