"""pydantic's view of what is wrong, in words for whoever wrote the file, at the place where they wrote it."""

import re
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from runner.matrix.document import Document, Place, nearest, not_among, shown

# pydantic's error types to what it wanted, where its own words are about Python and not about YAML.
_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_pattern_mismatch": "a name of lower-case letters, digits, - and _",
    "list_type": "a list",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "finite_number": "a finite number",
    "too_short": "one entry or more",
}
_MAPPING_WANTED = {"model_type", "model_attributes_type", "mapping_type", "dict_type"}


def validate(document: Document, kind: Any, value: object, at: Place = ()) -> Any:
    """`value`, found at `at`, as `kind` (a model or an annotated type); None, problems noted, if it is none.

    Strict: no text passes for a number, and no number for true or false.
    """
    try:
        return TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            _note(document, kind, value, at, detail)
        return None


def own_words(detail: ErrorDetails) -> str:
    """What one of pydantic's errors says of the value that it met: found, and allowed."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return not_among(detail["input"], re.findall(r"'([^']*)'", context["expected"]))
    if kind in _MAPPING_WANTED:
        return f"found {shown(detail['input'])}, allowed: a mapping"
    wanted = _WANTED.get(kind)
    if wanted is None:
        return f"found {shown(detail['input'])}: {detail['msg']}"
    return f"found {shown(detail['input'])}, allowed: {wanted.format(**context)}"


def _note(document: Document, kind: Any, value: object, at: Place, detail: ErrorDetails) -> None:
    """Notes one error at the key or the value that it is about."""
    context, last = detail.get("ctx", {}), detail["loc"][-1] if detail["loc"] else ""
    place = (*at, *_place_of(value, detail["loc"]))
    match detail["type"]:
        case "extra_forbidden":
            allowed = _fields_at(kind, detail["loc"][:-1])
            text = f"no such setting; allowed: {', '.join(allowed)}{nearest(last, allowed)}"
            document.at_key(place, text)
        case "missing":
            document.at_key(place, f"{last} is missing")
        case "union_tag_not_found" if isinstance(detail["input"], Mapping):
            name = context["discriminator"].strip("'")
            document.at_key(place, f"{name} is missing; allowed: {', '.join(_tags_at(kind, detail['loc']))}")
        case "union_tag_not_found":
            document.at_value(place, f"found {shown(detail['input'])}, allowed: a mapping")
        case "union_tag_invalid":
            name = context["discriminator"].strip("'")
            found = detail["input"].get(name, context["tag"])
            document.at_value((*place, name), not_among(found, re.findall(r"'([^']*)'", context["expected_tags"])))
        case _ if last == "[key]":
            document.at_key(place, own_words(detail))
        case _:
            document.at_value(place, own_words(detail))


def _place_of(value: object, location: tuple[int | str, ...]) -> Place:
    """pydantic's location without the tags of unions, which the data does not have."""
    place: list[int | str] = []
    for part in location:
        in_mapping = isinstance(value, Mapping) and part in value
        if in_mapping or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            value = value[part]  # type: ignore[index]
            place.append(part)
    return tuple(place)


def _fields_at(kind: Any, location: tuple[int | str, ...]) -> list[str]:
    """The settings that exist where an unknown one was found."""
    return [name for model in _models_at(kind, location) for name in model.model_fields]


def _tags_at(kind: Any, location: tuple[int | str, ...]) -> list[str]:
    """The tags among which a union is told apart."""
    return [str(tag) for model in _models_at(kind, location) for tag in _tags(model)]


def _models_at(kind: Any, location: tuple[int | str, ...]) -> list[type[BaseModel]]:
    kinds = _models(kind)
    for part in location:
        kinds = [model for each in kinds for model in _step(each, part, alone=len(kinds) == 1)]
    return [model for model in kinds if _is_model(model)]


def _step(kind: Any, part: int | str, *, alone: bool) -> list[Any]:
    """The types that lie under one part of a location; a union's tag picks among its models."""
    if _is_model(kind):
        if not alone and part in (*_tags(kind), kind.__name__):
            return [kind]
        known = kind.model_fields.get(str(part))
        # The tag of a union that is down to one model already.
        return _models(known.annotation) if known else [kind] if part in _tags(kind) else []
    arguments = get_args(kind)
    return _models(arguments[-1]) if arguments else []


def _models(kind: Any) -> list[Any]:
    """A type's alternatives, without what Annotated adds."""
    if get_origin(kind) is Annotated:
        return _models(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [model for argument in get_args(kind) for model in _models(argument)]
    return [kind]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _tags(model: type[BaseModel]) -> list[Any]:
    """The values of the fields by which a union is told apart."""
    fields = (model.model_fields.get(name) for name in ("kind", "engine"))
    return [tag for known in fields if known is not None for tag in get_args(known.annotation)]
