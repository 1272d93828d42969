"""`Settings`: the base of the frozen dataclasses that hold a function's options, their defaults and their checks."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

from kerasmlp.errors import InvalidType, nearest

F = TypeVar("F", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class Settings:
    """Base class of settings. Subclasses are frozen dataclasses whose `__post_init__` checks the values."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Returns the names of all settings, in order."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def default(cls, name: str) -> Any:
        """Returns the default of one setting, for help texts.

        Raises:
            KeyError: there is no such setting, or it has no default.
        """
        field = {field.name: field for field in dataclasses.fields(cls)}[name]
        if field.default is not dataclasses.MISSING:
            return field.default
        if field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
        raise KeyError(name)

    @classmethod
    def of(cls, settings: Self | None, options: Mapping[str, Any]) -> Self:
        """Returns `settings`, or the defaults if None, with `options` in place of their own values.

        Raises:
            InvalidType: an option has an unknown name, or `settings` is of another class.
            InvalidValue: a value is not allowed.
        """
        if settings is not None and not isinstance(settings, cls):
            raise InvalidType(f"`settings` needs a {cls.__name__}; got {type(settings).__name__}.")
        for name in options:
            if name not in cls.names():
                raise InvalidType(
                    f"There is no option `{name}`.{nearest(name, cls.names())} The options are "
                    f"{', '.join(f'`{known}`' for known in cls.names())}."
                )
        return cls(**options) if settings is None else dataclasses.replace(settings, **options)


def accepts(settings_class: type[Settings]) -> Callable[[F], F]:
    """Lets a function that ends in `**options` show the fields of `settings_class` as its keyword arguments.

    `help`, notebooks and editors then list every option with its type and default, although each is written down only
    once, in the settings class.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        options = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=field.type,
                default=inspect.Parameter.empty
                if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
                else settings_class.default(field.name),
            )
            for field in dataclasses.fields(settings_class)
            if field.name not in signature.parameters
        ]
        function.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
        return function

    return decorate
