"""Another revision, or other subnets, for a submission whose own ECS does not accept any more."""

from __future__ import annotations

from prefect_ecs_pinned.aws.calls.faults import Fault
from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.aws.launching.network import missing_subnets
from prefect_ecs_pinned.aws.launching.submission import Submission
from prefect_ecs_pinned.core.reaction import REFUSED_PAUSE


async def renew(submission: Submission, member: str, said: Fault, clock: Clock) -> None:
    """Find another value of a request's member.

    Args:
        submission: Whose.
        member: ``taskDefinition``, or else the subnets.
        said: ECS's refusal.
        clock: Time.

    Raises:
        PinnedECSError: There is none.
    """
    submission.renewals += 1
    request = submission.request
    if member == "taskDefinition":
        assert submission.renew is not None
        stale = str(request["taskDefinition"])
        request["taskDefinition"] = await submission.renew(stale)
        if request["taskDefinition"] == stale:
            submission.renewals -= 1  # it is new, and was waited for
        return
    assert submission.heal is not None
    network = request["networkConfiguration"]["awsvpcConfiguration"]
    subnets = list(await submission.heal(missing_subnets(said) or network["subnets"]))
    healed = {**network, "subnets": subnets}
    request["networkConfiguration"] = {"awsvpcConfiguration": healed}
    if set(subnets) == set(network["subnets"]):  # EC2 still lists one that is gone
        await submission.pause(REFUSED_PAUSE, clock)
