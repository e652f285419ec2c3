"""Every error that this package raises, on one page.

The class says what a caller may branch on; data is in attributes; the text is
*what: why*, with the hint and the link to the class's page on lines of their own.

::

    PinnedECSError (RuntimeError)
     ├── WrongPrefect (ImportError)        the installed Prefect is of the other major
     ├── ConfigurationError (ValueError)   the block asks for what cannot work; nothing was changed
     │    └── OverridesTooLarge            the RunTask overrides exceed ECS's limit
     ├── AwsError                          AWS refused, and repeating the call would not help
     │    ├── AccessDenied                 an IAM permission is missing
     │    ├── CredentialsInvalid           the credentials are wrong or have expired
     │    ├── ClusterNotFound              no such cluster in this account and Region
     │    ├── TaskDefinitionNotFound       the revision or family named does not exist
     │    ├── TaskDefinitionInactive       the revision named was deregistered
     │    └── TaskNotFound                 the task named is not known in that cluster
     ├── RegistrationRefused               `registration` is "never", and no revision matches
     ├── LaunchTimeout                     refused until `launch_timeout_seconds` had passed
     ├── Unavailable                       AWS could not be reached, or kept throttling
     ├── TaskFailedToStart                 the task stopped before its container ran
     │    └── TaskStartTimeout             it did not start in time, and was stopped
     └── TaskFateUnknown                   the task vanished, or could not be watched any longer
"""

from __future__ import annotations

from collections.abc import Sequence

#: The documentation of the newest release. Each class below has a page at ``errors/NAME/`` there.
DOCS = "https://prefect-ecs-pinned.github.io/prefect-ecs-pinned/latest/"


class PinnedECSError(RuntimeError):
    """Base of every error raised here.

    Args:
        what: What could not be done, for example ``cannot launch prefect-default:12``.
        why: The reason, in AWS's words where AWS gave one.
        hint: What a person can do about it.
    """

    def __init__(self, what: str, why: str = "", hint: str = "") -> None:
        super().__init__(what, why, hint)
        self.what = what
        self.why = why
        self.hint = hint

    @property
    def text(self) -> str:
        """What and why, without the hint and the link: to be quoted in another message."""
        return f"{self.what}: {self.why}" if self.why else self.what

    @property
    def page(self) -> str:
        """URL of the page with causes and cures; that of the nearest class on this page."""
        listed = next(each for each in type(self).__mro__ if each.__module__ == __name__)
        return f"{DOCS}errors/{listed.__name__}/"

    def __str__(self) -> str:
        hint = f"\nhint: {self.hint}" if self.hint else ""
        return f"{self.text}{hint}\nsee: {self.page}"


class WrongPrefect(PinnedECSError, ImportError):
    """What was asked for goes with the other major version of Prefect."""


class ConfigurationError(PinnedECSError, ValueError):
    """The block asks for something that cannot work. Nothing was changed in AWS."""


class OverridesTooLarge(ConfigurationError):
    """The overrides of a RunTask request are longer than ECS accepts.

    Attributes:
        size: Length of the overrides, in characters of JSON.
        largest: Names of the largest environment variables, largest first.
    """

    def __init__(self, what: str, why: str, hint: str, size: int, largest: Sequence[str]) -> None:
        super().__init__(what, why, hint)
        self.size = size
        self.largest = tuple(largest)


class AwsError(PinnedECSError):
    """AWS refused a call for a reason that repeating it would not remove.

    Attributes:
        code: AWS's error code, such as ``AccessDeniedException``; empty when there was none.
    """

    def __init__(self, what: str, why: str = "", hint: str = "", code: str = "") -> None:
        super().__init__(what, why, hint)
        self.code = code


class AccessDenied(AwsError):
    """The credentials lack an IAM permission."""


class CredentialsInvalid(AwsError):
    """AWS does not know the credentials, or they have expired and could not be renewed."""


class ClusterNotFound(AwsError):
    """There is no such cluster in this account and Region."""


class TaskDefinitionNotFound(AwsError):
    """The task-definition revision or family that was named does not exist."""


class TaskDefinitionInactive(AwsError):
    """The task-definition revision that was named has been deregistered."""


class TaskNotFound(AwsError):
    """The task that was named is not known in that cluster."""


class RegistrationRefused(PinnedECSError):
    """``registration`` is ``never`` and the configuration needs a revision that does not exist.

    Attributes:
        changed: The definition's members that differ from the newest revision.
    """

    def __init__(self, what: str, why: str, hint: str, changed: Sequence[str] = ()) -> None:
        super().__init__(what, why, hint)
        self.changed = tuple(changed)


class LaunchTimeout(PinnedECSError):
    """AWS refused a launch until ``launch_timeout_seconds`` had passed."""


class Unavailable(PinnedECSError):
    """AWS could not be reached, or throttled for longer than the patience."""


class TaskFailedToStart(PinnedECSError):
    """The task stopped before its Prefect container ran."""


class TaskStartTimeout(TaskFailedToStart):
    """The task did not reach RUNNING in time and was stopped."""


class TaskFateUnknown(PinnedECSError):
    """The task vanished or could not be watched any longer; it may be running still.

    Attributes:
        vanished: ECS has said for minutes that there is no such task.
    """

    vanished = False
