"""Generated definitions: what means the same fingerprints the same, what differs differs.

``GENERATED_DEFINITIONS`` sets how many are generated, all tests together; `make faults` asks for
10,000. The tables of defaults and of unordered lists are written from AWS's pages, apart from those
in `core.canonical`, so that neither hides a fault of the other.
"""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefect_ecs_pinned.core.compare import Digests
from prefect_ecs_pinned.core.fingerprint import fingerprint, labelled
from prefect_ecs_pinned.core.plan import Adopt, Desired, Observed, Register, Reuse, decide
from tests.core.echo import echo

PROPERTIES = 7
EXAMPLES = max(1, -(-int(os.environ.get("GENERATED_DEFINITIONS", "350")) // PROPERTIES))

Definition = dict[str, Any]

generated = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES < 1000,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

# -- definitions -----------------------------------------------------------------------------------

words = st.text("abcXYZ019_-", min_size=1, max_size=8)
texts = st.text(min_size=1, max_size=12).filter(lambda text: "\ud800" not in text)
numbers = st.integers(1, 4096)
flags = st.booleans()


def bag(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """A list of structures, distinguished by their first member."""
    first = next(iter(members))
    return st.lists(
        st.fixed_dictionaries(members), max_size=4, unique_by=lambda item: str(item[first])
    )


def optional(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=members)


capabilities = st.lists(st.sampled_from(["SYS_PTRACE", "NET_ADMIN", "KILL"]), unique=True)
members_of_container = {
    "cpu": numbers,
    "memory": numbers,
    "memoryReservation": numbers,
    "essential": flags,
    "command": st.lists(texts, max_size=4),
    "entryPoint": st.lists(texts, max_size=3),
    "environment": bag(name=words, value=texts),
    "mountPoints": bag(containerPath=words, sourceVolume=words, readOnly=flags),
    "volumesFrom": bag(sourceContainer=words, readOnly=flags),
    "ulimits": bag(name=words, softLimit=numbers, hardLimit=numbers),
    "systemControls": bag(namespace=words, value=words),
    "resourceRequirements": bag(value=words, type=st.just("GPU")),
    "dependsOn": bag(containerName=words, condition=st.sampled_from(["START", "HEALTHY"])),
    "extraHosts": bag(hostname=words, ipAddress=words),
    "portMappings": bag(containerPort=numbers, protocol=st.sampled_from(["tcp", "udp"])),
    "dockerLabels": st.dictionaries(words, texts, max_size=3),
    "user": words,
    "workingDirectory": words,
    "readonlyRootFilesystem": flags,
    "privileged": flags,
    "interactive": flags,
    "stopTimeout": numbers,
    "dockerSecurityOptions": st.lists(words, max_size=3, unique=True),
    "logConfiguration": st.fixed_dictionaries(
        {"logDriver": st.just("awslogs")},
        optional={
            "options": st.dictionaries(words, words, max_size=3),
            "secretOptions": bag(name=words, valueFrom=words),
        },
    ),
    "healthCheck": st.fixed_dictionaries(
        {"command": st.lists(texts, min_size=1, max_size=3)},
        optional={"interval": st.integers(5, 300), "timeout": numbers, "retries": numbers},
    ),
    "linuxParameters": optional(
        initProcessEnabled=flags,
        sharedMemorySize=numbers,
        capabilities=optional(add=capabilities, drop=capabilities),
    ),
    "repositoryCredentials": st.fixed_dictionaries({"credentialsParameter": words}),
}
members_of_task = {
    "cpu": st.sampled_from(["256", "0.25 vCPU", ".25 vcpu", "1 vCPU", "1024", "4096"]),
    "memory": st.sampled_from(["512", "1GB", "1 GB", "2048", "8gb"]),
    "networkMode": st.sampled_from(["awsvpc", "bridge", "host", "none"]),
    "executionRoleArn": words,
    "taskRoleArn": words,
    "requiresCompatibilities": st.lists(
        st.sampled_from(["FARGATE", "EC2", "EXTERNAL"]), unique=True
    ),
    "volumes": bag(name=words, host=optional(sourcePath=words)),
    "placementConstraints": bag(expression=words, type=st.just("memberOf")),
    "ephemeralStorage": st.fixed_dictionaries({"sizeInGiB": st.integers(21, 200)}),
    "runtimePlatform": optional(cpuArchitecture=st.sampled_from(["X86_64", "ARM64"])),
    "pidMode": st.just("task"),
    "tags": bag(key=words, value=texts),
}


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    """What somebody may want to register: the Prefect container and up to two others."""
    definition = draw(optional(**members_of_task))
    names = ["prefect", *draw(st.lists(words, max_size=2, unique=True))]
    containers = []
    for name in names:
        container = {"name": name, "image": draw(words), **draw(optional(**members_of_container))}
        clear = {variable["name"] for variable in container.get("environment", [])}
        secrets = draw(bag(name=words, valueFrom=words))
        if secrets := [secret for secret in secrets if secret["name"] not in clear]:
            container["secrets"] = secrets
        containers.append(container)
    return {**definition, "family": "f", "containerDefinitions": containers}


# -- what makes no difference ----------------------------------------------------------------------

ORDERED = {"command", "entryPoint", "extraHosts", "dnsServers"}

#: What ECS fills in: by container, by item of a list of a container, by structure of a container.
CONTAINER_DEFAULTS = {"cpu": 0, "essential": True, "readonlyRootFilesystem": False}
ITEM_DEFAULTS: dict[str, dict[str, Any]] = {
    "portMappings": {"protocol": "tcp"},
    "mountPoints": {"readOnly": False},
    "volumesFrom": {"readOnly": False},
}
STRUCTURE_DEFAULTS: dict[str, dict[str, Any]] = {
    "healthCheck": {"interval": 30, "timeout": 5, "retries": 3},
    "linuxParameters": {"devices": [], "tmpfs": [], "initProcessEnabled": False},
    "logConfiguration": {"secretOptions": [], "options": {}},
}
EMPTY_LISTS = ("environment", "mountPoints", "volumesFrom", "portMappings", "systemControls")
TASK_DEFAULTS = {"networkMode": "bridge", "volumes": [], "placementConstraints": []}


def shuffled(value: Any, chance: random.Random, name: str = "") -> Any:
    """The same with its unordered lists in another order, and its members too."""
    if isinstance(value, dict):
        items = [(key, shuffled(content, chance, key)) for key, content in value.items()]
        chance.shuffle(items)
        return dict(items)
    if isinstance(value, list):
        items = [shuffled(item, chance) for item in value]
        # A health check's command is "command" too, and is ordered as well.
        if name not in ORDERED:
            chance.shuffle(items)
        return items
    return value


def with_defaults(definition: Definition, some: Callable[[], bool]) -> Definition:
    """The same with some of the defaults spelled out that it leaves out."""
    result = copy.deepcopy(definition)

    def fill(structure: dict[str, Any], defaults: dict[str, Any]) -> None:
        for name, default in defaults.items():
            if name not in structure and some():
                structure[name] = copy.copy(default)

    fill(result, TASK_DEFAULTS)
    for container in result["containerDefinitions"]:
        fill(container, CONTAINER_DEFAULTS)
        fill(container, {name: [] for name in EMPTY_LISTS})
        for name, defaults in STRUCTURE_DEFAULTS.items():
            if name in container:
                fill(container[name], defaults)
        for name, defaults in ITEM_DEFAULTS.items():
            for item in container.get(name, []):
                fill(item, defaults)
    return result


def of_tomorrow(value: Any, chance: random.Random, depth: int = 0) -> Any:
    """The same with members that AWS may add one day, at any level of structure."""
    if isinstance(value, list):
        return [of_tomorrow(item, chance, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    result = {
        name: content
        if name in ("dockerLabels", "options", "labels", "driverOpts")
        else of_tomorrow(content, chance, depth + 1)
        for name, content in value.items()
    }
    if depth == 0 or chance.random() < 0.5:
        new = chance.choice([True, 7, "x", ["x"], {"enabled": True}, [{"name": "x"}]])
        result[f"quantum{chance.randrange(100)}"] = new
    return result


@generated
@given(definitions(), st.randoms(use_true_random=False))
def test_the_order_of_unordered_lists_makes_no_difference(definition, chance):
    """Nor does the order of members."""
    other = shuffled(definition, chance)
    assert fingerprint(other) == fingerprint(definition)
    assert Digests.of(other) == Digests.of(definition)


@generated
@given(definitions(), st.randoms(use_true_random=False))
def test_a_default_may_be_spelled_out_or_left_out(definition, chance):
    """ECS fills it in all the same."""
    other = with_defaults(definition, lambda: chance.random() < 0.5)
    assert fingerprint(other) == fingerprint(definition)
    assert Digests.of(other) == Digests.of(definition)


def described(definition: Definition, chance: random.Random) -> Definition:
    """As ECS may describe it back: filled in, reordered, with members of its own."""
    untagged = {name: value for name, value in definition.items() if name != "tags"}
    answer = echo(shuffled(untagged, chance), revision=chance.randrange(1, 1000))
    return with_defaults(answer, lambda: True)


@generated
@given(definitions(), st.randoms(use_true_random=False))
def test_an_echo_in_the_manner_of_ecs_is_used_again(definition, chance):
    """With our label or without it: nothing is registered."""
    definition.pop("tags", None)  # beside the definition when ECS describes it
    desired = Desired(definition)
    sent = labelled(definition, desired.fingerprint)
    ours, theirs = described(sent, chance), described(definition, chance)
    spelled = {role: theirs.get(role) for role in ("taskRoleArn", "executionRoleArn")}
    assert fingerprint(ours) == fingerprint(theirs) == fingerprint({**definition, **spelled})
    assert decide(desired, [Observed.of(ours)]) == Reuse(ours["taskDefinitionArn"])
    assert decide(desired, [Observed.of(theirs)]) == Adopt(theirs["taskDefinitionArn"])


@generated
@given(definitions(), st.randoms(use_true_random=False))
def test_what_aws_may_add_tomorrow_causes_no_registration(definition, chance):
    """Unknown members of an answer, at any level."""
    definition.pop("tags", None)
    desired = Desired(definition)
    sent = labelled(definition, desired.fingerprint)
    for original, expected in ((sent, Reuse), (definition, Adopt)):
        answer = of_tomorrow(described(original, chance), chance)
        assert isinstance(decide(desired, [Observed.of(answer)], answer), expected)


# -- what makes a difference -----------------------------------------------------------------------


def _container(definition: Definition) -> dict[str, Any]:
    container: dict[str, Any] = definition["containerDefinitions"][0]
    return container


def change_image(d: Definition) -> None:
    _container(d)["image"] += "x"


def change_entry_point(d: Definition) -> None:
    _container(d).setdefault("entryPoint", []).append("x")


def change_command(d: Definition) -> None:
    _container(d).setdefault("command", []).append("x")


def change_the_order_of_the_command(d: Definition) -> None:
    _container(d)["command"] = ["one", *_container(d).get("command", []), "two"]


def add_a_variable(d: Definition) -> None:
    _container(d).setdefault("environment", []).append({"name": "new/", "value": "x"})


def change_a_variable(d: Definition) -> None:
    add_a_variable(d)
    _container(d)["environment"][0]["value"] += "x"


def add_a_secret(d: Definition) -> None:
    _container(d).setdefault("secrets", []).append({"name": "new/", "valueFrom": "arn"})


def change_log_options(d: Definition) -> None:
    _container(d).setdefault("logConfiguration", {"logDriver": "awslogs"})
    _container(d)["logConfiguration"].setdefault("options", {})["new/"] = "x"


def change_the_health_check(d: Definition) -> None:
    _container(d).setdefault("healthCheck", {"command": ["CMD"]})["startPeriod"] = 17


def add_a_label(d: Definition) -> None:
    _container(d)["dockerLabels"] = {**_container(d).get("dockerLabels", {}), "new/": "x"}


def change_the_user(d: Definition) -> None:
    _container(d)["user"] = _container(d).get("user", "") + "x"


def change_root_filesystem(d: Definition) -> None:
    _container(d)["readonlyRootFilesystem"] = not _container(d).get("readonlyRootFilesystem")


def change_privileged(d: Definition) -> None:
    _container(d)["privileged"] = not _container(d).get("privileged")


def change_essential(d: Definition) -> None:
    _container(d)["essential"] = not _container(d).get("essential", True)


def add_a_port(d: Definition) -> None:
    _container(d).setdefault("portMappings", []).append({"containerPort": 9999})


def add_a_mount(d: Definition) -> None:
    mount = {"containerPath": "new/", "sourceVolume": "x"}
    _container(d).setdefault("mountPoints", []).append(mount)


def add_a_volume(d: Definition) -> None:
    d.setdefault("volumes", []).append({"name": "new/"})


def add_a_container(d: Definition) -> None:
    d["containerDefinitions"].append({"name": "new/", "image": "x"})


def change_the_network_mode(d: Definition) -> None:
    d["networkMode"] = "host" if d.get("networkMode") != "host" else "none"


def change_the_execution_role(d: Definition) -> None:
    d["executionRoleArn"] = d.get("executionRoleArn", "") + "x"


def change_the_task_role(d: Definition) -> None:
    d["taskRoleArn"] = d.get("taskRoleArn", "") + "x"


def change_the_architecture(d: Definition) -> None:
    before = d.get("runtimePlatform", {}).get("cpuArchitecture")
    d["runtimePlatform"] = {"cpuArchitecture": "ARM64" if before != "ARM64" else "X86_64"}


def change_the_storage(d: Definition) -> None:
    d["ephemeralStorage"] = {"sizeInGiB": d.get("ephemeralStorage", {}).get("sizeInGiB", 30) + 1}


def state_or_unstate_cpu(d: Definition) -> None:
    if d.pop("cpu", None) is None:
        d["cpu"] = "256"


def state_or_unstate_memory(d: Definition) -> None:
    if d.pop("memory", None) is None:
        d["memory"] = "512"


CHANGES = [
    value
    for name, value in list(globals().items())
    if name.startswith(("change_", "add_", "state_"))
]


@generated
@given(definitions(), st.sampled_from(CHANGES), st.randoms(use_true_random=False))
def test_a_change_of_what_a_launch_cannot_set_registers(definition, change, chance):
    """However the changed definition is described back, the old one is not used for it."""
    changed = copy.deepcopy(definition)
    change(changed)
    assert fingerprint(changed) != fingerprint(definition)
    before = described(labelled(definition, fingerprint(definition)), chance)
    decision = decide(Desired(changed), [Observed.of(before)], before)
    assert isinstance(decision, Register)


@generated
@given(definitions(), numbers, numbers)
def test_sizes_are_sent_with_every_launch(definition, cpu, memory):
    """The values of the task's sizes, and off Fargate of the Prefect container's, do not count."""
    other = copy.deepcopy(definition)
    on_fargate = "FARGATE" in other.get("requiresCompatibilities", [])
    structures = [other] if on_fargate else [other, _container(other)]
    for structure in structures:
        for name, size in (("cpu", cpu), ("memory", memory)):
            if structure.get(name):
                structure[name] = str(size) if structure is other else size
    assert fingerprint(other) == fingerprint(definition)


@generated
@given(definitions(), numbers)
def test_sizes_of_containers_count_where_a_launch_does_not_send_them(definition, more):
    """On Fargate those of the Prefect container, everywhere those of the others."""
    definition["requiresCompatibilities"] = ["FARGATE"]
    other = copy.deepcopy(definition)
    container = other["containerDefinitions"][-1]
    container["memoryReservation"] = container.get("memoryReservation", 0) + more
    assert fingerprint(other) != fingerprint(definition)
    container = _container(other)
    container["memory"] = container.get("memory", 0) + more
    assert fingerprint(other) != fingerprint(definition)


def test_there_is_a_change_of_every_kind():
    """The list of changes is not empty by accident."""
    assert len(CHANGES) == 25
