"""Names of one, two and four bytes a character, long ones, files that are zipped, odd or without a name."""

import sys
import tempfile
import zipfile

from _point import point

FILES = ["<string>", "", "каталог/файл.py", "dir/é.py", "日本語.py", "\U0001f40d/\U0001d4d0.py", "a" * 5000 + ".py"]
NAMES = ["f", "é", "функция", "名前", "\U00020000\U00020001", "名\U00020000", "x" * 3000]


def made(name, filename):
    source = f"class Klasse_{name}:\n    def {name}(self):\n        point()\n\n\nKlasse_{name}().{name}()\n"
    exec(compile(source, filename, "exec"), {"point": point})


def größe(параметр):
    point()
    return параметр


def 计算():  # noqa: N802
    return größe(point())


def zipped():
    with tempfile.TemporaryDirectory() as directory:
        path = directory + "/archivé.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("zipped_module.py", "def call(function):\n\n    return function()\n")
        sys.path.insert(0, path)
        import zipped_module

        zipped_module.call(point)


计算()
for each_name, each_file in zip(NAMES, FILES):  # noqa: B905
    made(each_name, each_file)
zipped()
