"""The way of one flow run: prepared, pinned and launched (`launch`), and followed (`follow`)."""

from __future__ import annotations

from prefect_ecs_pinned.aws.control_plane import ControlPlane
from prefect_ecs_pinned.errors import TaskFailedToStart
from prefect_ecs_pinned.runs.ending import Ending, Result
from prefect_ecs_pinned.runs.host import Host
from prefect_ecs_pinned.runs.launch import launch
from prefect_ecs_pinned.runs.spec import RunSpec
from prefect_ecs_pinned.runs.watch import Launched, Unwanted, watch


async def run(spec: RunSpec, plane: ControlPlane, host: Host) -> Result:
    """Run what a spec asks for as a task, to its end.

    Raises:
        PinnedECSError: Nothing was launched; or, without a supervisor, the task failed to start;
            or it vanished, and may be running still.
    """
    try:
        launched = await launch(spec, plane, host)
    except Unwanted:
        return await Ending(spec, plane, host).never_launched()
    return await follow(spec, plane, host, launched)


async def follow(spec: RunSpec, plane: ControlPlane, host: Host, launched: Launched) -> Result:
    """The second half of a run: from the launch to the end, whatever it is.

    Anyone who has launched a task calls this immediately, awaiting nothing in between: it is what
    releases the launch.

    Raises:
        TaskFailedToStart: The task failed to start, and there is no supervisor.
        TaskFateUnknown: It vanished, or could not be watched; it may be running still.
    """
    ending = Ending(spec, plane, host)
    try:
        end = await watch(spec, plane, host, launched)
    except TaskFailedToStart as error:
        if launched.unwanted:
            return await ending.cancelled(launched, None)
        return await ending.failed_to_start(launched, error)
    else:
        if launched.unwanted:
            return await ending.cancelled(launched, end)
        return await ending.finished(launched, end)
    finally:
        plane.task_ended(launched.launch)
