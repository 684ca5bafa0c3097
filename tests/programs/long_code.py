"""Functions with many lines, wide gaps, lines that go back and instructions that spread far over one line."""

from _point import point


def made(source, filename):
    namespace = {"point": point}
    exec(compile(source, filename, "exec"), namespace)
    namespace["made"]()


def filler(count):
    return "".join(f"    value_{number} = [{number}, {number}]\n" for number in range(count))


GAPS = "".join("\n" * gap + "    point()\n" for gap in (0, 1, 126, 127, 128, 129, 254, 255, 256, 300, 1000, 40000))
BACK = (
    "    (\n"
    + "\n" * 200
    + "    point\n    )(\n        *[\n            1,\n"
    + "\n" * 140
    + "            2,\n        ]\n    )\n"
)
WIDE = "    " + "; ".join(f"{chr(97 + number % 26)} = {number}" for number in range(800)) + "; point()\n"
COLUMN = "    value = " + " " * 600 + "(" + "1 + " * 300 + "point())\n"

made("def made():\n" + GAPS, "gaps.py")
made("\n" * 70000 + "def made():\n" + filler(600) + "    point()\n" + filler(600) + "    point()\n", "long.py")
made("def made():\n" + BACK + "    point()\n", "back.py")
made("def made():\n" + WIDE + "    point()\n", "wide.py")
made("def made():\n" + COLUMN + "    point()\n", "column.py")
made("def made():\n    for _ in range(1):\n" + "\n" * 500 + "        point()\n    point()\n", "loop.py")
