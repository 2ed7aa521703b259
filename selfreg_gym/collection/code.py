"""Facts about functions and classes, read from their code objects: names, origin, and assigned attributes."""

from __future__ import annotations

import dis
import hashlib
import sys
import sysconfig
import types
from collections.abc import Iterator
from typing import Any

__all__ = [
    "assigned_attributes",
    "assigned_variables",
    "code_function",
    "hashed",
    "is_installed",
    "name_of",
    "nested_code",
    "slots_of",
]

_CONSTRUCTORS = ("__init__", "__new__", "__post_init__")
_FOLDERS = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib")})


def assigned_attributes(kind: type) -> set[str]:
    """Names of attributes that methods of a class assign, apart from its constructors: counters, for instance."""
    return {
        str(step.argval)
        for base in kind.__mro__
        for name, member in vars(base).items()
        if name not in _CONSTRUCTORS and (function := code_function(member)) is not None
        for code in nested_code(function.__code__)
        for step in dis.get_instructions(code)
        if step.opname in ("STORE_ATTR", "DELETE_ATTR")
    }


def assigned_variables(code: types.CodeType) -> set[str]:
    """Variables outside the function that it assigns: counters, for instance."""
    return {
        str(step.argval)
        for inner in nested_code(code)
        for step in dis.get_instructions(inner)
        if step.opname in ("STORE_DEREF", "STORE_GLOBAL", "DELETE_DEREF", "DELETE_GLOBAL")
    }


def slots_of(value: Any) -> dict[str, Any]:
    """The values of an object's slots by name."""
    found: dict[str, Any] = {}
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        names = (slots,) if isinstance(slots, str) else tuple(slots)
        found |= {name: getattr(value, name) for name in names if hasattr(value, name)}
    return found


def hashed(data: str | bytes) -> str:
    """16 hexadecimal digits of the SHA-256 of a text or of bytes."""
    data = data if isinstance(data, bytes) else data.encode("utf-8", "backslashreplace")
    return hashlib.sha256(data).hexdigest()[:16]


def nested_code(code: types.CodeType) -> Iterator[types.CodeType]:
    """A code object and those of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from nested_code(constant)


def code_function(member: Any) -> types.FunctionType | None:
    """The function behind a method, a static or class method, or a property."""
    member = getattr(member, "__func__", getattr(member, "fget", member))
    return member if isinstance(member, types.FunctionType) else None


def is_installed(value: Any) -> bool:
    """Whether a function or class comes from an installed package, the standard library or this package."""
    module = getattr(value, "__module__", None) or ""
    root = module.partition(".")[0]
    if root == "selfreg_gym" or root in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return file.startswith(_FOLDERS)


def name_of(value: Any) -> str:
    """Module and qualified name of a class or function, or of an object's class."""
    named = value if hasattr(value, "__qualname__") else type(value)
    if isinstance(value, types.ModuleType):
        return value.__name__
    module = getattr(named, "__module__", None) or getattr(named, "__objclass__", type(named)).__module__
    return f"{module}.{named.__qualname__}"
