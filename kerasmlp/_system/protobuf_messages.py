"""`message_pool`: protobuf message classes from a short description of their fields.

Only the fields that are read or written need a description, because protobuf keeps fields that it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto

# The fields of each message, as `number name type`. A type with a capital letter is a message.
Messages = Mapping[str, Sequence[str]]


def message_pool(packages: Mapping[str, Messages], known: Sequence[Any] = ()) -> descriptor_pool.DescriptorPool:
    """Returns a pool of messages.

    It is a pool of its own. In protobuf's default pool, a program that also imports the original definitions would
    register the same names twice, which protobuf refuses.

    Args:
        packages: The messages of each package. A field is `number name type`, `number name repeated type`, or
            `number name map type` for a map from texts. The type is one of protobuf's, a message of the same package,
            or a message of another package with the name of the package in front.
        known: Descriptors of files with messages that the fields use, such as `any_pb2.DESCRIPTOR`.
    """
    pool = descriptor_pool.DescriptorPool()
    names = [file.name for file in known]
    for file in known:
        pool.AddSerializedFile(file.serialized_pb)
    others = (*packages, *{file.package for file in known})
    for package, messages in packages.items():
        described = descriptor_pb2.FileDescriptorProto(
            name=f"kerasmlp/{package}.proto", package=package, syntax="proto3", dependency=names
        )
        for name, fields in messages.items():
            message = described.message_type.add(name=name)
            for field in fields:
                _add_field(message, package, field, tuple(f"{other}." for other in others))
        pool.AddSerializedFile(described.SerializeToString())
        names.append(described.name)
    return pool


def message_class(pool: descriptor_pool.DescriptorPool, name: str) -> Any:
    r"""Returns the class of a message.

    Args:
        pool: What `message_pool` returned.
        name: The name of its package, a dot, and its own name.

    Example:
        >>> pool = message_pool({"shop": {"Order": ("1 item string", "2 count int32")}})
        >>> message_class(pool, "shop.Order")(item="pen", count=2).SerializeToString()
        b'\n\x03pen\x10\x02'
    """
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def _add_field(message: Any, package: str, text: str, packages: tuple[str, ...]) -> None:
    number, name, *label, kind = text.split()
    field = message.field.add(name=name, number=int(number), label=_FIELD.LABEL_OPTIONAL)
    if label:
        field.label = _FIELD.LABEL_REPEATED
    if label == ["map"]:  # protobuf encodes a map as a repeated message of a key and a value
        entry_name = "".join(part.capitalize() for part in name.split("_")) + "Entry"
        entry = message.nested_type.add(name=entry_name, options=descriptor_pb2.MessageOptions(map_entry=True))
        _add_field(entry, package, "1 key string", packages)
        _add_field(entry, package, f"2 value {kind}", packages)
        kind = f"{message.name}.{entry_name}"
    if any(letter.isupper() for letter in kind):
        field.type = _FIELD.TYPE_MESSAGE
        field.type_name = f".{kind}" if kind.startswith(packages) else f".{package}.{kind}"
    else:
        field.type = _FIELD.Type.Value(f"TYPE_{kind.upper()}")
