"""One bad task in a batch of a hundred: read smaller and smaller parts until it is alone.

ECS refuses a whole DescribeTasks for one of its tasks: an ARN of another account or Region
(``InvalidParameterException``), or one that an IAM policy keeps from us (its tags, say).
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from prefect_ecs_pinned.aws.calls.faults import PASSING, Fault, Kind

#: Calls that one refused batch may cost in a poll: two bad tasks among a hundred are found by 28.
MOST_CALLS = 32

#: Calls after which, if none was answered, all is taken to be refused: a single task has been asked
#: for alone by then, and the others.
FIRST_CALLS = 10

#: Kinds that concern the call, whatever tasks it names.
_OF_THE_CALL = frozenset({Kind.EXPIRED, Kind.BAD_SIGNATURE, Kind.NO_CLUSTER}) | (
    PASSING - {Kind.OUTCOME_UNKNOWN}
)


def may_concern_one(failure: Exception, lasting: bool) -> bool:
    """Whether a call may have failed for one of its tasks.

    Args:
        failure: A `Fault`, or what an answer that cannot be read has raised.
        lasting: Several calls in a row have failed: then an answer that AWS does not give (a 500)
            may be owed to one task, too.
    """
    if not isinstance(failure, Fault):
        return True
    if failure.kind is Kind.OUTCOME_UNKNOWN:
        return lasting
    return failure.kind not in _OF_THE_CALL


@dataclass
class Isolated:
    """What asking for parts has brought.

    Attributes:
        answered: A part was answered.
        alone: Tasks that are refused on their own, and why.
        open: Parts that are refused, and were not taken apart.
    """

    answered: bool = False
    alone: dict[str, Exception] = field(default_factory=dict)
    open: list[tuple[Sequence[str], Exception]] = field(default_factory=list)


async def isolate(
    arns: Sequence[str],
    failure: Exception,
    ask: Callable[[Sequence[str]], Awaitable[Exception | None]],
    lasting: bool,
) -> Isolated:
    """Find the tasks that a refused batch is refused for, by at most `MOST_CALLS`.

    Args:
        arns: The batch, in any order; it is shuffled, so that another poll tries other parts.
        failure: Why it was refused.
        ask: DescribeTasks for a part; None when it was answered.
        lasting: See `may_concern_one`.
    """
    found = Isolated()
    shuffled = random.sample(list(arns), len(arns))
    parts: list[tuple[Sequence[str], Exception]] = _halves(shuffled, failure)
    calls = 0
    while parts:
        part, _ = parts.pop()
        why = await ask(part)
        calls += 1
        if why is None:
            found.answered = True
        elif len(part) == 1:
            found.alone[part[0]] = why
        else:
            parts += _halves(part, why)
        passing = why is not None and not may_concern_one(why, lasting)
        if passing or calls >= (MOST_CALLS if found.answered else FIRST_CALLS):
            break
    found.open = parts
    return found


def _halves(arns: Sequence[str], why: Exception) -> list[tuple[Sequence[str], Exception]]:
    middle = len(arns) // 2
    return [(half, why) for half in (arns[:middle], arns[middle:]) if half]
