"""Runbooks, served by the product itself: the link in a page works at 3 a.m. without anybody else's web site."""

import re
from html import escape
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "runbooks"

_NAME = re.compile(r"[a-z0-9-]{1,64}")
_LINK = re.compile(r"\[([^\]]+)\]\(([a-z0-9-]+)\.md\)")
_CODE = re.compile(r"`([^`]+)`")


def runbook(name: str, folder: Path = FOLDER) -> tuple[str, str] | None:
    """Title and HTML of a runbook; None if there is none of that name."""
    path = folder / f"{name}.md"
    if not _NAME.fullmatch(name) or not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    title = text.partition("\n")[0].removeprefix("# ").strip()
    return title, render(text)


def render(text: str) -> str:
    r"""The little Markdown that runbooks use (headings, paragraphs, numbered lists, code, links to runbooks) as HTML.

    >>> render("# A\n\nSee [b](b.md) and `x < 1`.")
    '<h1>A</h1>\n<p>See <a href="b">b</a> and <code>x &lt; 1</code>.</p>'
    """
    out: list[str] = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.splitlines()
        if lines[0].startswith("#"):
            level = len(lines[0]) - len(lines[0].lstrip("#"))
            out.append(f"<h{level}>{_inline(lines[0].lstrip('# '))}</h{level}>")
        elif re.match(r"\d+\. ", lines[0]):
            items = "".join(f"<li>{_inline(re.sub(r'^[0-9]+[.] ', '', line))}</li>" for line in lines)
            out.append(f"<ol>{items}</ol>")
        else:
            out.append(f"<p>{_inline(' '.join(lines))}</p>")
    return "\n".join(out)


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", _LINK.sub(r'<a href="\2">\1</a>', escape(text, quote=False)))
