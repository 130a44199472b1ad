"""What an annotation of Python says about a Value: which Values fit, and what becomes of one that does.

    shape_of(list[Item]).read(value, "items")     # a list of Items, or Unfit: "items[2].price: expected int, found STR"

Sentences name parameters, fields and types, and never a value, which may be masked.
"""

import dataclasses
import enum
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from halter.client.moments import WITHOUT_ZONE, timestamp_from
from halter.task_worker.task import EPOCH
from processors.core.records.errors import HalterError
from processors.core.records.values import Timestamp, Value, VariableType, kind_of

ALL: Final = frozenset(VariableType)
OWN_NAMES: Final[dict[str, Any]] = {"Timestamp": Timestamp, "Value": Any}
"""Names in annotations that are known without an import. The alias Value is text, in which Timestamp occurs."""


class Unfit(HalterError):
    """An input of an attempt does not fit the annotation of its parameter, or what it returned its own: it fails."""


class NoShape(HalterError):
    """An annotation is none that a Value can fit. Whoever wrote the handler chooses another."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What an annotation says: `types` are the VariableTypes of the Values that it takes, or that come of it."""

    name: str
    types: frozenset[VariableType]
    read: Callable[[Value, str], Any]
    """Turns a Value into what the annotation promises. The text is where the Value is, for sentences. Raises Unfit."""

    def takes(self, declared: VariableType) -> bool:
        """Say whether Values of a declared type may fit. An INT is a float as well."""
        return declared in self.types or (declared is VariableType.INT and VariableType.DOUBLE in self.types)

    def gives(self, declared: VariableType) -> bool:
        """Say whether what it is made of may be stored as the declared type. Only null has no type of its own."""
        fits = declared in self.types or (declared is VariableType.DOUBLE and VariableType.INT in self.types)
        return fits or not self.types


def hints_of(thing: Any) -> dict[str, Any]:
    """Return the annotations of a function or class, resolved. Raises NoShape."""
    names = OWN_NAMES | vars(sys.modules[thing.__module__]) if thing.__module__ in sys.modules else OWN_NAMES
    try:
        return get_type_hints(thing, globalns=names, localns=names, include_extras=True)
    except (NameError, TypeError, SyntaxError, AttributeError) as error:
        raise NoShape(f"the annotations of {thing.__qualname__} cannot be resolved: {error}") from error


def shape_of(annotation: Any) -> Shape:
    """Return the Shape of an annotation. Raises NoShape."""
    return _shape(annotation, ())


def _shape(annotation: Any, around: tuple[Any, ...]) -> Shape:
    """`around`: the classes of whose fields this is one. A class that contains itself is not followed for ever."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any or annotation is object or getattr(annotation, "__forward_arg__", annotation) == Value:
        return Shape(ANY_VALUE, ALL, lambda value, _: value)
    if annotation is None or annotation is types.NoneType:
        return Shape("None", frozenset(), _reader("None", lambda value: value is None))
    if origin is Annotated:
        return _shape(arguments[0], around)
    if origin is Union or origin is types.UnionType:
        return _union([_shape(one, around) for one in arguments])
    if origin is Literal:
        return _one_of([(one.value if isinstance(one, enum.Enum) else one, one) for one in arguments])
    if origin in LISTS or annotation in LISTS:
        return _list(annotation, tuple(one for one in arguments if one is not Ellipsis), around)
    if origin in MAPPINGS or annotation in MAPPINGS:
        return _mapping(arguments, around)
    if isinstance(annotation, type):
        return _of_class(annotation, around)
    raise NoShape(f"expected {EXPECTED}, found {name_of(annotation)}")


ANY_VALUE: Final = "any value"
LISTS: Final = (list, Sequence, tuple)
MAPPINGS: Final = (dict, Mapping)
EXPECTED: Final = (
    "str, int, float, bool, bytes, datetime, Timestamp, list, dict, a dataclass, a TypedDict, a model of pydantic, an "
    "Enum, a Literal, Any, or a union of these"
)
PRIMITIVE: Final[Mapping[type, VariableType]] = {
    bool: VariableType.BOOL,
    int: VariableType.INT,
    str: VariableType.STR,
    bytes: VariableType.BYTES,
    Timestamp: VariableType.TIMESTAMP,
}


def _of_class(kind: type, around: tuple[Any, ...]) -> Shape:
    name = kind.__name__
    if (declared := PRIMITIVE.get(kind)) is not None:
        return Shape(name, frozenset({declared}), _reader(name, lambda value: type(value) is kind))
    if kind is float:
        return Shape(name, frozenset({VariableType.DOUBLE}), _read_float)
    if kind is datetime:
        return Shape(name, frozenset({VariableType.TIMESTAMP}), _read_datetime)
    if issubclass(kind, enum.Enum):
        return _one_of([(member.value, member) for member in kind], name)
    if is_typeddict(kind) or dataclasses.is_dataclass(kind):
        return _record(kind, around)
    if is_model(kind):
        return Shape(name, frozenset({VariableType.JSON_OBJ}), lambda value, where: _read_model(kind, value, where))
    raise NoShape(f"expected {EXPECTED}, found {name_of(kind)}")


def is_model(kind: type) -> bool:
    """Say whether a class is a model of pydantic, which need not be installed."""
    pydantic = sys.modules.get("pydantic")  # whoever made a model has imported it
    return pydantic is not None and issubclass(kind, pydantic.BaseModel)


def name_of(annotation: Any) -> str:
    """Return an annotation as sentences show it."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def unfit(where: str, expected: str, value: Value) -> Unfit:
    """Return the error that says what does not fit where, without the value."""
    return Unfit(f"{where}: expected {expected}, found {kind_of(value)}")


def _reader(name: str, fits: Callable[[Value], bool]) -> Callable[[Value, str], Any]:
    def read(value: Value, where: str) -> Any:
        if not fits(value):
            raise unfit(where, name, value)
        return value

    return read


def _read_float(value: Value, where: str) -> float:
    if type(value) is float or type(value) is int:
        return float(value)
    raise unfit(where, "float", value)


def _read_datetime(value: Value, where: str) -> datetime:
    if not isinstance(value, Timestamp):
        raise unfit(where, "datetime", value)
    try:
        return EPOCH + timedelta(milliseconds=value.epoch_ms)
    except OverflowError:
        raise Unfit(f"{where}: expected a time in the years 1 to 9999, found another") from None


def _union(shapes: Sequence[Shape]) -> Shape:
    name = " | ".join(shape.name for shape in shapes)

    def read(value: Value, where: str) -> Any:
        refusals = []
        for shape in shapes:
            try:
                return shape.read(value, where)
            except Unfit as refusal:
                refusals.append(refusal)
        # For `Order | None`, the field that does not fit says more than the union.
        near = [it for shape, it in zip(shapes, refusals, strict=True) if shape.types and _may_be(value, shape)]
        raise near[0] if len(near) == 1 else unfit(where, name, value)

    return Shape(name, frozenset().union(*(shape.types for shape in shapes)), read)


def _may_be(value: Value, shape: Shape) -> bool:
    return value is not None and kind_of(value) in shape.types


def _one_of(members: Sequence[tuple[Any, Any]], name: str | None = None) -> Shape:
    kinds = {type(value) for value, _ in members}
    if not kinds <= {*PRIMITIVE, types.NoneType}:
        raise NoShape(f"expected values that are str, int, bool or bytes in {name or 'a Literal'}, found others")
    by_value = {(type(value), value): member for value, member in members}
    name = name or f"one of {', '.join(repr(value) for value, _ in members)}"

    def read(value: Value, where: str) -> Any:
        if type(value) not in kinds or (type(value), value) not in by_value:
            another = "another " if type(value) in kinds else ""
            raise Unfit(f"{where}: expected {name}, found {another}{kind_of(value)}")
        return by_value[type(value), value]

    return Shape(name, frozenset(PRIMITIVE[kind] for kind in kinds if kind in PRIMITIVE), read)


def _list(annotation: Any, arguments: tuple[Any, ...], around: tuple[Any, ...]) -> Shape:
    if len(arguments) > 1:
        raise NoShape(f"expected a list, or a tuple of any length with one type, found {name_of(annotation)}")
    of = _shape(arguments[0], around) if arguments else shape_of(Any)
    made = tuple if tuple in {annotation, get_origin(annotation)} else list
    name = f"{made.__name__}[{of.name}]" if arguments else made.__name__

    def read(value: Value, where: str) -> Any:
        if not isinstance(value, list):
            raise unfit(where, name, value)
        return made(of.read(one, f"{where}[{place}]") for place, one in enumerate(value))

    return Shape(name, frozenset({VariableType.JSON_ARR}), read)


def _mapping(arguments: tuple[Any, ...], around: tuple[Any, ...]) -> Shape:
    if arguments and arguments[0] is not str:
        raise NoShape(f"expected a dict whose keys are str, found keys of {name_of(arguments[0])}")
    of = _shape(arguments[1], around) if arguments else shape_of(Any)

    def read(value: Value, where: str) -> Any:
        if not isinstance(value, dict):
            raise unfit(where, "dict", value)
        # The name of a key is content, as its value is.
        return {key: of.read(one, f"{where}[…]") for key, one in value.items()}

    return Shape("dict", frozenset({VariableType.JSON_OBJ}), read)


def _record(kind: Any, around: tuple[Any, ...]) -> Shape:
    """Return the Shape of a dataclass or TypedDict. Fields that it does not have are passed over."""
    if kind in around:
        raise NoShape(f"expected a class that does not contain itself, found {kind.__name__}")
    hints = hints_of(kind)
    if is_typeddict(kind):
        names, required = list(hints), set(kind.__required_keys__)
        hints = {name: get_args(hint)[0] if _is_qualified(hint) else hint for name, hint in hints.items()}
    else:
        fields = [it for it in dataclasses.fields(kind) if it.init]
        names = [it.name for it in fields]
        nothing = dataclasses.MISSING
        required = {it.name for it in fields if it.default is nothing and it.default_factory is nothing}
    shapes = {name: _shape(hints[name], (*around, kind)) for name in names}

    def read(value: Value, where: str) -> Any:
        if not isinstance(value, dict):
            raise unfit(where, kind.__name__, value)
        found = {}
        for name, shape in shapes.items():
            if name in value:
                found[name] = shape.read(value[name], f"{where}.{name}")
            elif name in required:
                raise Unfit(f"{where}.{name}: expected {shape.name}, found nothing")
        return kind(**found)

    return Shape(kind.__name__, frozenset({VariableType.JSON_OBJ}), read)


def _is_qualified(hint: Any) -> bool:
    return get_origin(hint) in {typing.Required, typing.NotRequired}


def _read_model(kind: Any, value: Value, where: str) -> Any:
    if not isinstance(value, dict):
        raise unfit(where, kind.__name__, value)
    try:
        return kind.model_validate(value)
    except sys.modules["pydantic"].ValidationError as error:  # a model is here, so it is imported
        first = error.errors(include_url=False, include_input=False)[0]
        names = _field_names(kind, set())
        path = ".".join([where, *(str(it) if isinstance(it, int) or it in names else "…" for it in first["loc"])])
        # These messages have the value: the tag that no class has, or what a validator raised.
        has_value = not first.get("ctx", {}).keys().isdisjoint({"tag", "error"})
        raise Unfit(f"{path}: {first['type'] if has_value else first['msg']}") from None


def _field_names(annotation: Any, seen: set[Any]) -> set[str]:
    """Return the names of the fields of all models in an annotation: other names in a path are keys, so content."""
    names: set[str] = set()
    if isinstance(annotation, type) and is_model(annotation) and annotation not in seen:
        seen.add(annotation)
        model: Any = annotation
        for name, field in model.model_fields.items():
            names |= {name, str(field.alias)} | _field_names(field.annotation, seen)
    return names.union(*(_field_names(one, seen) for one in get_args(annotation)))


def value_of(thing: Any) -> Any:
    """Return what a handler returned as a Value. What cannot be one is left as it is, and refused with its report."""
    if isinstance(thing, enum.Enum):
        return value_of(thing.value)
    if isinstance(thing, datetime):
        timestamp = timestamp_from(thing)
        if timestamp is None:
            raise Unfit(WITHOUT_ZONE)
        return timestamp
    if isinstance(thing, Timestamp):
        return thing
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return {it.name: value_of(getattr(thing, it.name)) for it in dataclasses.fields(thing)}
    if is_model(type(thing)):
        return value_of(thing.model_dump())
    if isinstance(thing, Mapping):
        return {key: value_of(one) for key, one in thing.items()}
    if isinstance(thing, list | tuple):
        return [value_of(one) for one in thing]
    return thing
