"""What the sections of observe.yml are made of: durations, sizes, addresses, and a mapping without unknown keys."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from observe.duration import parse_duration_ms
from observe.errors import UsageError
from observe.exporters.registry import checked_options, registration
from observe.listening import parse_address
from observe.size import parse_size


def _duration(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError(f"{value} has no unit: write {value}s or {value}m")  # noqa: TRY004 - pydantic wants ValueError
    return parse_duration_ms(str(value))


def _size(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return parse_size(str(value))


def _positive(value: int) -> int:
    if value <= 0:
        raise ValueError("must be more than zero")
    return value


def web_address(value: str) -> str:
    """`value`, if it is an http(s) address. Raises ValueError."""
    if not value.startswith(("http://", "https://")):
        raise ValueError(f"{value!r} is not an address: write http://HOST:PORT/PATH or https://…")
    return value


def _listen(value: str) -> str:
    try:
        parse_address(value)
    except UsageError as error:
        raise ValueError(str(error)) from error
    return value


def _as_typed(value: Any) -> Any:
    """Options of an exporter as they would be typed on its command line: `timeout: 3` is as good as `timeout: "3"`."""
    if not isinstance(value, dict):
        return value
    told: dict[Any, Any] = {}
    for name, options in value.items():
        if options is not None and not isinstance(options, dict):
            raise ValueError(f"the options of {name} are keys with values")
        told[name] = {key: _word(option) for key, option in (options or {}).items()}
    return told


def _word(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else "" if value is None else value


def _exporter(value: str | dict[str, dict[str, str]]) -> str | dict[str, dict[str, str]]:
    try:
        for name, options in ({value: {}} if isinstance(value, str) else value).items():
            checked_options(registration(name), options)
    except UsageError as error:
        raise ValueError(str(error)) from error
    return value


Duration = Annotated[int, BeforeValidator(_duration), AfterValidator(_positive)]
"""Milliseconds, written as ``15s``."""
Wait = Annotated[int, BeforeValidator(_duration)]
"""Milliseconds that may be none at all: ``0s``."""
Size = Annotated[int, BeforeValidator(_size), AfterValidator(_positive)]
"""Bytes, written as ``500MB``."""
Url = Annotated[str, AfterValidator(web_address)]
Listen = Annotated[str, AfterValidator(_listen)]
Exporter = Annotated[str | dict[str, dict[str, str]], BeforeValidator(_as_typed), AfterValidator(_exporter)]


class Section(BaseModel):
    """A mapping in the file. Unknown keys are errors: a typo would silently change what happens."""

    model_config = ConfigDict(extra="forbid", frozen=True)
