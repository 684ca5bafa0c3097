"""Jinja2 renders a page with inheritance, macros, filters and loops (generated code), and compiles a template."""

from __future__ import annotations

from collections.abc import Callable

PACKAGES = ("jinja2", "markupsafe")
TEMPLATES = {
    "base": "<html><head><title>{% block title %}{% endblock %}</title></head>"
    "<body>{% block body %}{% endblock %}</body></html>",
    "macros": "{% macro cell(value, kind='td') %}<{{ kind }}>{{ value }}</{{ kind }}>{% endmacro %}",
    "page": """{% extends "base" %}{% from "macros" import cell %}
{% block title %}{{ title | title | replace("A", "B") }}{% endblock %}
{% block body %}<table><tr>{% for name in rows[0] | sort %}{{ cell(name, "th") }}{% endfor %}</tr>
{% for row in rows if row.id is divisibleby 2 or row.name %}
<tr class="{{ loop.cycle("odd", "even") }}">{{ cell(loop.index) }}{{ cell(row.name | upper | truncate(8)) }}
{{ cell("%.2f" | format(row.price)) }}{{ cell(row.tags | join(", ") | default("none", true)) }}</tr>
{% else %}<tr>{{ cell("nothing") }}</tr>{% endfor %}</table>
{{ rows | map(attribute="price") | sum | round(1) }}{% endblock %}""",
}  # fmt: skip


def setup() -> Callable[[], object]:
    import jinja2

    environment = jinja2.Environment(loader=jinja2.DictLoader(TEMPLATES), autoescape=True)
    page = environment.get_template("page")
    rows = [
        {"id": number, "name": f"name <{number}>", "price": number / 7, "tags": ["a", "b"] * (number % 3)}
        for number in range(60)
    ]

    def iterate() -> None:
        for _ in range(3):
            page.render(title="a page of rows", rows=rows)
        environment.compile(TEMPLATES["page"])

    return iterate
