"""`Plain`: frozen classes of a few fields; to type checkers they are dataclasses.

`dataclasses` itself, with what it imports and the code it makes, takes the command line 15 ms at each start, `typing`
5 ms: what every command loads imports `typing` for checkers alone, which take `TYPE_CHECKING` for true.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Never, dataclass_transform
else:

    def dataclass_transform(**_):
        return lambda cls: cls


@dataclass_transform(frozen_default=True)
class Plain:
    """Base of a class whose annotated names are its fields, in their order; class attributes are their defaults."""

    _fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        own = (name for name, said in cls.__annotations__.items() if not said.startswith("ClassVar"))
        cls._fields = (*cls._fields, *own)

    def __init__(self, *given: Any, **named: Any) -> None:
        fields = self._fields
        if len(given) > len(fields):
            raise TypeError(f"{type(self).__name__} takes {len(fields)} values, not {len(given)}")
        values = dict(zip(fields, given, strict=False))
        for name, value in named.items():
            if name not in fields or name in values:
                raise TypeError(f"{type(self).__name__} has no {name}, or has it twice")
            values[name] = value
        for name in fields:
            if name not in values:
                if not hasattr(type(self), name):
                    raise TypeError(f"{type(self).__name__} lacks {name}")
                values[name] = getattr(type(self), name)
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: Any) -> Never:
        raise AttributeError(f"{type(self).__name__} is not changed: {name}")

    def __delattr__(self, name: str) -> Never:
        raise AttributeError(f"{type(self).__name__} is not changed: {name}")

    def _values(self) -> tuple[Any, ...]:
        return tuple(self.__dict__[name] for name in self._fields)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={self.__dict__[name]!r}' for name in self._fields)})"
