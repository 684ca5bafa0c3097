"""html.parser collects links and headings of a page: regular expressions, methods that are overridden."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser

SECTION = """<section id="s{0}" class="part odd"><h2>Part &amp; number {0}</h2><!-- a comment -->
<p>Some text with <a href="/part/{0}?a=1&amp;b=2">a link</a>, <em>stress</em> and <br/> a break.</p>
<ul><li>one<li>two &lt; three<li><img src="{0}.png" alt="A picture"></ul></section>
"""


class Outline(HTMLParser):
    """Counts what it meets, and keeps links and headings."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0
        self.links: list[str] = []
        self.headings: list[str] = []
        self.in_heading = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.depth += 1
        if tag == "a":
            self.links += [value or "" for name, value in attributes if name == "href"]
        self.in_heading = tag == "h2"

    def handle_endtag(self, tag: str) -> None:
        self.depth -= 1
        self.in_heading = False

    def handle_data(self, data: str) -> None:
        if self.in_heading:
            self.headings.append(data.strip())


def parse(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    parser.close()
    return parser


def setup() -> Callable[[], object]:
    page = "<!doctype html><html><body>" + "".join(SECTION.format(number) for number in range(80)) + "</body></html>"
    return lambda: parse(page)
