"""Classes: `__init__` and the interpreter's help with it, metaclasses, properties, nested names."""

from dataclasses import dataclass, field

from _point import point


class Base:
    def __init__(self, depth=0):
        self.depth = depth
        if depth:
            Base(depth - 1)
        else:
            point()


class Derived(Base):
    def __init__(self, depth):
        super().__init__(
            depth,
        )
        point()

    @property
    def value(self):
        return point()

    @classmethod
    def make(cls):
        return cls(2)

    @staticmethod
    def static():
        point()


class New:
    def __new__(cls, *args):
        point()
        return super().__new__(cls)

    def __init__(self, *args):
        point()


class Meta(type):
    def __new__(cls, name, bases, namespace):
        point()
        return super().__new__(cls, name, bases, namespace)

    def __call__(cls, *args):
        point()
        return super().__call__(*args)


class Made(metaclass=Meta):
    def __init__(self):
        point()

    def __init_subclass__(cls):
        point()

    def __set_name__(self, owner, name):
        point()


class Child(Made):
    made = Made()


class Outer:
    class Nested:
        class Innermost:
            def method(self):
                def local():
                    class InFunction:
                        def method(self):
                            return [point() for _ in range(1)]

                    return InFunction().method()

                return local()


@dataclass
class Data:
    values: list = field(default_factory=lambda: [point()])

    def __post_init__(self):
        point()


def __init__(self):  # noqa: N807
    """A function of the program that has the shim's name, but not its file."""
    point()


Base(3)
Derived.make().value  # noqa: B018
Derived.static()
New(1)
Child()
Outer.Nested.Innermost().method()
Data()
__init__(None)
type("Dynamic", (), {"__init__": __init__})()
