"""Our two subsets of CRI are what runtimes speak: checked field by field against an independent
build of the protocol (the package container-runtime-interface-api, of mid-2025), and what is newer
than that build against a table of our own."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import grpc.aio
import pytest
from google.protobuf.descriptor import FieldDescriptor, FileDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from reconciler.cri._pb import runtime_pb2
from reconciler.cri.rpc import Methods
from reconciler.domain.inventory import ContainerState, EventKind
from reconciler.fake_runtime import wire
from reconciler.fake_runtime._pb import workload_pb2
from tests.programs import output_of

ROOT = Path(__file__).parents[2]
RUNTIME: FileDescriptor = runtime_pb2.DESCRIPTOR
WORKLOAD: FileDescriptor = workload_pb2.DESCRIPTOR

# What cri-api 0.36 and 0.37 added after that build. A field: number, name, type, repeated or not.
NEWER_FIELDS = {
    "StreamImagesRequest": {(1, "filter", "ImageFilter", False)},
    "StreamImagesResponse": {(1, "images", "Image", True)},
    "StreamContainersRequest": {(1, "filter", "ContainerFilter", False)},
    "StreamContainersResponse": {(1, "containers", "Container", True)},
    "StreamPodSandboxesRequest": {(1, "filter", "PodSandboxFilter", False)},
    "StreamPodSandboxesResponse": {(1, "pod_sandboxes", "PodSandbox", True)},
    "ImageSpec": {(20, "image_ref", "string", False)},
    "Mount": {(11, "mount_options", "string", True)},
}
# A method: request, response, client streams, server streams.
NEWER_METHODS = {
    "/runtime.v1.ImageService/StreamImages": (
        "StreamImagesRequest",
        "StreamImagesResponse",
        False,
        True,
    ),
    "/runtime.v1.RuntimeService/StreamContainers": (
        "StreamContainersRequest",
        "StreamContainersResponse",
        False,
        True,
    ),
    "/runtime.v1.RuntimeService/StreamPodSandboxes": (
        "StreamPodSandboxesRequest",
        "StreamPodSandboxesResponse",
        False,
        True,
    ),
}
NEWER_MESSAGES = {name for name in NEWER_FIELDS if name.startswith("Stream")}

Field = tuple[int, str, str, bool, str]
OURS = pytest.mark.parametrize("ours", [RUNTIME, WORKLOAD], ids=["runtime", "workload"])


@functools.cache
def reference() -> FileDescriptor:
    """The package's descriptors in a pool of their own: the default pool holds ours, and the two
    define the same names. So the package is imported by another process, which sends them here."""
    code = "from cri_api.v1 import api_pb2 as a; print(a.DESCRIPTOR.serialized_pb.hex())"
    descriptor = bytes.fromhex(output_of([sys.executable, "-c", code]))
    return DescriptorPool().AddSerializedFile(descriptor)


def type_of(field: FieldDescriptor) -> str:
    """A field's type in words; a map by those of its key and value."""
    if field.message_type is not None:
        if field.message_type.GetOptions().map_entry:
            inner = field.message_type.fields_by_name
            return f"map<{type_of(inner['key'])}, {type_of(inner['value'])}>"
        return str(field.message_type.name)
    if field.enum_type is not None:
        return str(field.enum_type.name)
    kind = FieldDescriptorProto.Type.Name(cast("FieldDescriptorProto.Type.ValueType", field.type))
    return str(kind.removeprefix("TYPE_").lower())


def fields(file: FileDescriptor) -> dict[str, set[Field]]:
    """All messages of a file with their fields: number, name, type, repeated, oneof."""
    return {
        name: {
            (
                field.number,
                field.name,
                type_of(field),
                field.is_repeated,
                field.containing_oneof.name if field.containing_oneof else "",
            )
            for field in message.fields
        }
        for name, message in file.message_types_by_name.items()
    }


def enums(file: FileDescriptor) -> dict[str, dict[str, int]]:
    return {
        name: {value.name: value.number for value in enum.values}
        for name, enum in file.enum_types_by_name.items()
    }


def all_methods(file: FileDescriptor) -> Iterator[MethodDescriptor]:
    for service in file.services_by_name.values():
        yield from service.methods


def methods(file: FileDescriptor) -> dict[str, tuple[str, str, bool, bool]]:
    """All methods by their path on the wire."""
    return {
        wire.path_of(method): (
            method.input_type.name,
            method.output_type.name,
            method.client_streaming,
            method.server_streaming,
        )
        for method in all_methods(file)
    }


def wrong_fields(ours: FileDescriptor, theirs: FileDescriptor) -> dict[str, set[Field]]:
    """Fields of ours that neither the reference nor the table of newer ones has just so."""
    known = fields(theirs)
    wrong = {}
    for message, mine in fields(ours).items():
        newer = {(*field, "") for field in NEWER_FIELDS.get(message, set())}
        if unexpected := mine - known.get(message, set()) - newer:
            wrong[message] = unexpected
    return wrong


@OURS
def test_every_field_has_the_protocols_number_name_type_and_label(ours: FileDescriptor) -> None:
    """A wrong number would make us read one field as another: an image id as a name, say."""
    assert wrong_fields(ours, reference()) == {}


@OURS
def test_no_message_is_of_our_own_making(ours: FileDescriptor) -> None:
    """Even a message without fields must be one of the protocol's."""
    assert fields(ours).keys() - fields(reference()).keys() - NEWER_MESSAGES == set()


@OURS
def test_every_enum_has_all_the_protocols_values(ours: FileDescriptor) -> None:
    """A state we lack would arrive as a bare number and read as unknown."""
    theirs = enums(reference())
    assert {name: theirs[name] for name in enums(ours)} == enums(ours)


@OURS
def test_every_method_has_the_protocols_path_messages_and_streaming(ours: FileDescriptor) -> None:
    """A wrong path is UNIMPLEMENTED at run time, which reads as an old runtime."""
    known = methods(reference()) | NEWER_METHODS
    assert {path: known[path] for path in methods(ours)} == methods(ours)


def test_the_table_holds_only_what_the_reference_lacks() -> None:
    """When the package grows up to our table, the table must go: two truths drift apart."""
    known = fields(reference())
    doubled = {
        name
        for name, newer in NEWER_FIELDS.items()
        if {(*field, "") for field in newer} & known.get(name, set())
    }
    assert doubled == set()
    assert NEWER_METHODS.keys() & methods(reference()).keys() == set()


@pytest.mark.parametrize("change", ["number", "name", "type", "label"])
def test_the_comparison_sees_any_change_of_a_field(change: str) -> None:
    """The check itself can fail: Image.id with one thing about it changed is found, and alone."""
    altered = FileDescriptorProto()
    RUNTIME.CopyToProto(altered)
    image = next(message for message in altered.message_type if message.name == "Image")
    field = next(field for field in image.field if field.name == "id")
    if change == "number":
        field.number = 99
    elif change == "name":
        field.name, field.json_name = "identity", "identity"
    elif change == "type":
        field.type = field.TYPE_BYTES
    else:
        field.label = field.LABEL_REPEATED
    file = DescriptorPool().AddSerializedFile(altered.SerializeToString())
    assert list(wrong_fields(file, reference())) == ["Image"]


class Dialled:
    """Replaces a channel and notes each path, and whether its answer is a stream."""

    def __init__(self) -> None:
        self.paths: dict[str, bool] = {}

    def unary_unary(self, path: str, *codecs: object) -> None:
        self.paths[path] = False

    def unary_stream(self, path: str, *codecs: object) -> None:
        self.paths[path] = True


def test_the_client_dials_the_paths_that_were_checked() -> None:
    """What is dialled is made from the descriptors checked above, not written a second time."""
    dialled = Dialled()
    for service in ("RuntimeService", "ImageService"):
        Methods(cast("grpc.aio.Channel", dialled), service)
    assert dialled.paths == {path: method[3] for path, method in methods(RUNTIME).items()}


def test_the_numbers_of_the_core_are_the_protocols() -> None:
    """The core knows states and events by number, without importing a message."""
    assert enums(RUNTIME)["ContainerState"] == {
        f"CONTAINER_{state.name}": state.value for state in ContainerState
    }
    assert enums(RUNTIME)["ContainerEventType"] == {
        f"CONTAINER_{kind.name}_EVENT": kind.value for kind in EventKind
    }


def test_the_daemon_has_no_words_to_touch_a_container() -> None:
    """Exec, Attach, PortForward, Stop, Create: what is not in our protocol cannot be sent, not
    even by a mistake. The only call that changes a node is RemoveImage."""
    assert {path.rpartition("/")[2] for path in methods(RUNTIME)} == {
        "Version",
        "Status",
        "ListPodSandbox",
        "StreamPodSandboxes",
        "PodSandboxStatus",
        "ListContainers",
        "StreamContainers",
        "ContainerStatus",
        "GetContainerEvents",
        "ListImages",
        "StreamImages",
        "RemoveImage",
        "ImageFsInfo",
    }


def test_the_daemon_never_imports_the_workloads_protocol() -> None:
    """What makes and stops pods lives in a module that `reconciler run` does not load."""
    code = (
        "import sys, reconciler.app\n"
        "print([m for m in sys.modules if 'fake_runtime' in m or 'workload' in m])"
    )
    assert output_of([sys.executable, "-c", code]).strip() == "[]"


def test_the_generated_code_is_what_the_protos_say(tmp_path: Path) -> None:
    """A .proto edited without regenerating would be checked here and not be what runs."""
    generate = [sys.executable, "protos/generate.py", "--into", str(tmp_path)]
    output_of(generate, cwd=ROOT)
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.py*")}
    assert len(made) == 13
    assert {path: (ROOT / path).read_text() for path in made} == made
