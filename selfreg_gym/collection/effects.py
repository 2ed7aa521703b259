"""Side effects of code, read from its bytecode: the names that it uses, assigns and changes in place."""

from __future__ import annotations

import dis
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator, Sequence, Set
from typing import Any, NamedTuple

__all__ = [
    "CONSTRUCTORS",
    "NO_EFFECTS",
    "Effects",
    "code_function",
    "effects_of",
    "effects_of_object",
    "is_installed",
    "name_of",
    "nested_code",
]

CONSTRUCTORS = ("__init__", "__new__", "__post_init__")

_FOLDERS = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib")})
_STORES_ITEM = {"STORE_SUBSCR": 2, "DELETE_SUBSCR": 2, "STORE_SLICE": 3}  # position of the container on the stack
_CALLED = frozenset(
    ("act", "__call__", "__getitem__", "__setitem__", "__iter__", "__next__", "__enter__", "__exit__", "__getattr__")
)
_IN_PLACE = frozenset(
    "add append appendleft clear difference_update discard extend extendleft fill insert intersection_update "
    "move_to_end pop popitem popleft put remove reverse rotate setdefault sort subtract symmetric_difference_update "
    "update".split()
)


class Effects(NamedTuple):
    """Names that code uses, assigns, and changes in place."""

    used: frozenset[str] = frozenset()
    assigned: frozenset[str] = frozenset()
    in_place: frozenset[str] = frozenset()

    def __or__(self, other: Effects) -> Effects:  # type: ignore[override]
        return Effects(*(mine | theirs for mine, theirs in zip(self, other, strict=True)))


NO_EFFECTS = Effects()


def effects_of_object(value: Any, used: Set[str]) -> Effects:
    """The effects of an object's code when it acts.

    Args:
        value: the object.
        used: names in the code of enclosing objects, which may call its methods.
    """
    methods: dict[str, list[types.FunctionType]] = {}
    for base in type(value).__mro__:
        for name, member in vars(base).items():
            if name not in CONSTRUCTORS and (one := code_function(member)) is not None:
                methods.setdefault(name, []).append(one)
    for name, member in getattr(value, "__dict__", {}).items():
        if (one := code_function(member)) is not None:
            methods.setdefault(str(name), []).append(one)
    begin = [one for name in sorted((_CALLED | used) & methods.keys()) for one in methods[name]]
    return effects_of(begin, lambda name: methods.get(name, []))


def effects_of(begin: Sequence[types.FunctionType], methods: Callable[[str], Sequence[types.FunctionType]]) -> Effects:
    """The effects of functions, including the methods and the functions of their module that they call."""
    waiting, done = list(begin), set()
    found = Effects()
    while waiting:
        function = waiting.pop()
        if function.__code__ in done:
            continue
        done.add(function.__code__)
        for code in nested_code(function.__code__):
            found |= _effects_of_code(code)
            for name in code.co_names:
                waiting += methods(name)
                known = function.__globals__.get(name)
                if isinstance(known, types.FunctionType) and known.__module__ == function.__module__:
                    waiting.append(known)
        for cell in function.__closure__ or ():
            try:
                inner = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
            if isinstance(inner, types.FunctionType) and not is_installed(inner):
                waiting.append(inner)
    return found


def _effects_of_code(code: types.CodeType) -> Effects:
    """Names of the attributes and outer variables that a code object assigns or changes in place.

    The instructions are followed in their order with a stack of names, without jumps. That is enough for the usual
    forms (``self.seen.append(x)``, ``self.count[key] += 1``, ``seen = self.seen; seen[key] = x``).
    """
    assigned: set[str] = set()
    in_place: set[str | None] = set()
    stack: list[str | None] = []
    local: dict[Any, str | None] = dict.fromkeys(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount], "")

    def top(depth: int) -> str | None:
        return stack[-depth] if len(stack) >= depth else None

    def drop(count: int) -> None:
        del stack[len(stack) - min(count, len(stack)) :]

    for step in dis.get_instructions(code):
        name, value = step.opname, step.argval
        effect = dis.stack_effect(step.opcode, step.arg if step.opcode >= dis.HAVE_ARGUMENT else None, jump=False)
        if name in ("STORE_ATTR", "DELETE_ATTR"):
            if top(1) is not None:  # of a parameter or an outer object, not of a new object
                assigned.add(str(value))
            drop(-effect)
        elif name in ("STORE_DEREF", "DELETE_DEREF", "STORE_GLOBAL", "DELETE_GLOBAL"):
            if value not in code.co_cellvars:  # a variable of another function
                assigned.add(str(value))
            drop(-effect)
        elif name in _STORES_ITEM:
            in_place.add(top(_STORES_ITEM[name]))
            drop(-effect)
        elif name == "COPY":
            stack.append(top(step.arg or 1))
        elif name == "SWAP":
            i = step.arg or 1
            if len(stack) >= i:
                stack[-1], stack[-i] = stack[-i], stack[-1]
        elif name in ("BINARY_SUBSCR", "BINARY_SLICE"):
            container = top(1 - effect)
            drop(1 - effect)
            stack.append(container)
        elif name in ("LOAD_ATTR", "LOAD_METHOD"):
            if value in _IN_PLACE:
                in_place.add(top(1))
            drop(1)
            stack.extend([str(value)] * (1 + effect))
        elif name in ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_GLOBAL"):
            stack.extend([None] * (effect - 1))
            stack.append(str(value))
        elif name in ("LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW"):
            stack.append(local.get(value))
        elif name in ("LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW"):
            stack.extend(local.get(one) for one in value)
        elif name == "STORE_FAST":
            local[value] = top(1)
            drop(1)
        elif effect > 0:
            stack.extend([None] * effect)
        elif effect < 0:
            drop(-effect)
            if stack and not name.startswith(("POP_", "STORE_", "DELETE_", "RETURN_")):
                stack[-1] = None  # the result of the instruction
    return Effects(frozenset(code.co_names), frozenset(assigned), frozenset(str(one) for one in in_place if one))


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
