"""Base job templates that people have published for `ecs` pools, accepted unchanged.

Of each, what is registered and sent is what `ECSWorker` would register and send, but for the
differences that `test_compared` lists.
"""

from __future__ import annotations

import copy

import pytest
from prefect.client.schemas.actions import WorkPoolCreate

from prefect_ecs_pinned.errors import ConfigurationError
from tests.worker.published import NESTED_TWICE, PUBLISHED, Published
from tests.worker.test_compared import ALWAYS, Case, Difference, Sent, both, ours, theirs


def zero_stays(sent: Sent) -> None:
    """`ECSWorker` drops a zero in the definition, and an empty list."""
    assert sent.definition is not None
    sent.definition["containerDefinitions"][1]["cpu"] = 0


DIFFERENCES: dict[str, Difference] = {
    "a monitor beside the flow, with a key that is a variable": zero_stays
}


def case_of(one: Published) -> Case:
    return Case(one.variables, {}, (), one.described, one.template)


@pytest.mark.parametrize("name", PUBLISHED)
async def test_the_same_is_registered_and_sent(name: str):
    """And ECS's own model of RunTask and RegisterTaskDefinition accepts it."""
    one = PUBLISHED[name]
    before = copy.deepcopy(one.template)
    differences = [DIFFERENCES[name]] if name in DIFFERENCES else []
    expected, actual = await both(case_of(one), [*differences, *ALWAYS])
    assert actual == expected
    assert one.template == before


@pytest.mark.parametrize("name", PUBLISHED)
async def test_the_task_is_given_its_flow_run(name: str):
    """In one override, of a container that the definition has."""
    one = PUBLISHED[name]
    sent = await ours(case_of(one))
    [own] = [
        override
        for override in sent.request["overrides"]["containerOverrides"]
        if any(v["name"] == "PREFECT__FLOW_RUN_ID" for v in override["environment"])
    ]
    assert own["command"] == ["prefect", "flow-run", "execute"]
    definition = one.described or sent.definition or {}
    assert own["name"] in [container["name"] for container in definition["containerDefinitions"]]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_pool_can_be_made_with_it(name: str):
    """Prefect refuses a template that uses a variable which it does not have."""
    template = PUBLISHED[name].template
    pool = WorkPoolCreate(name="flows", type="pinned-ecs", base_job_template=template)
    assert pool.base_job_template == template


async def test_what_ecs_would_refuse_is_refused_before_anything_changes():
    """`ECSWorker` sends it. The error names the member, and where to correct it."""
    case = case_of(NESTED_TWICE)
    sent = await theirs(case)
    network = sent.request["networkConfiguration"]["awsvpcConfiguration"]
    assert list(network) == ["awsvpcConfiguration"]
    with pytest.raises(ConfigurationError, match="awsvpcConfiguration") as caught:
        await ours(case)
    assert "network_configuration" in caught.value.hint


def test_ten_and_more_can_be_read_at_their_address():
    addresses = {o.source for o in PUBLISHED.values() if o.source.startswith("https://")}
    assert len(addresses) >= 10
