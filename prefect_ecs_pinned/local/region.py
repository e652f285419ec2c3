"""All that ECS has in one Region: definitions, clusters, tasks, services, and their tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prefect_ecs_pinned.local import matching, run_task
from prefect_ecs_pinned.local.definitions import Definitions, page
from prefect_ecs_pinned.local.errors import AwsRefusal, client, no_cluster
from prefect_ecs_pinned.local.settings import ACCOUNT_ID, Settings, by_action
from prefect_ecs_pinned.local.tags import check_tags
from prefect_ecs_pinned.local.tasks import Task


class Region:
    """One Region of one account.

    Args:
        name: As in ARNs.
        epoch: Seconds since the epoch.
        settings: How it behaves.
        rewrite: Changes a definition, in place, to how it is described.
    """

    def __init__(
        self,
        name: str,
        epoch: Callable[[], float],
        settings: Settings,
        rewrite: Callable[[dict[str, Any]], None],
    ) -> None:
        self.name = name
        self.definitions = Definitions(
            name, epoch, lambda action: by_action(settings.invisible_seconds, action), rewrite
        )
        self.clusters: dict[str, dict[str, Any]] = {}
        self.tasks: dict[str, Task] = {}
        self.live: dict[str, Task] = {}
        self.started_by: dict[str, list[Task]] = {}
        self.services: dict[str, dict[str, Any]] = {}
        self.tokens = run_task.Tokens()
        self.add_cluster("default")

    def add_cluster(self, name: str) -> dict[str, Any]:
        """A cluster of that name, made if there is none."""
        arn = f"arn:aws:ecs:{self.name}:{ACCOUNT_ID}:cluster/{name}"
        return self.clusters.setdefault(
            name, {"clusterArn": arn, "clusterName": name, "status": "ACTIVE"}
        )

    def cluster(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The cluster that a request names.

        Raises:
            AwsRefusal: ClusterNotFoundException.
        """
        name = str(request.get("cluster") or "default").rsplit("/", 1)[-1]
        if name not in self.clusters:
            raise no_cluster()
        return self.clusters[name]

    # -- actions -------------------------------------------------------------------------------

    def create_cluster(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateCluster."""
        cluster = self.add_cluster(request.get("clusterName") or "default")
        for name in ("capacityProviders", "defaultCapacityProviderStrategy"):
            if name in request:
                cluster[name] = list(request[name])
        return {"cluster": cluster}

    def describe_clusters(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeClusters."""
        names = [n.rsplit("/", 1)[-1] for n in request.get("clusters") or ["default"]]
        return {
            "clusters": [self.clusters[name] for name in names if name in self.clusters],
            "failures": [
                {"arn": name, "reason": "MISSING"} for name in names if name not in self.clusters
            ],
        }

    def list_clusters(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListClusters."""
        arns = [cluster["clusterArn"] for cluster in self.clusters.values()]
        return page("clusterArns", arns, request)

    def delete_cluster(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DeleteCluster."""
        cluster = self.cluster(request)
        del self.clusters[cluster["clusterName"]]
        return {"cluster": {**cluster, "status": "INACTIVE"}}

    def tag(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """TagResource: what is new replaces what has its key."""
        tags = self._tags_of(request["resourceArn"])
        new = {tag.get("key"): tag for tag in request["tags"]}
        check_tags(request["tags"])
        check_tags([*(tag for tag in tags if tag["key"] not in new), *new.values()])
        tags[:] = [tag for tag in tags if tag["key"] not in new] + list(request["tags"])
        return {}

    def untag(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """UntagResource."""
        tags = self._tags_of(request["resourceArn"])
        tags[:] = [tag for tag in tags if tag["key"] not in request["tagKeys"]]
        return {}

    def list_tags(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListTagsForResource."""
        return {"tags": self._tags_of(request["resourceArn"])}

    def _tags_of(self, arn: str) -> list[dict[str, str]]:
        if ":task-definition/" in arn:
            tags = self.definitions.tags(arn)
        else:
            task = self.tasks.get(arn.rsplit("/", 1)[-1])
            tags = None if task is None else task.tags
        if tags is None:
            raise AwsRefusal("ResourceNotFoundException", "The specified resource was not found.")
        return tags

    def create_service(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateService: it is remembered, and starts nothing."""
        cluster, name = self.cluster(request), request["serviceName"]
        definition = self.definitions.find(request.get("taskDefinition") or "")
        if definition is None:
            raise client("TaskDefinition not found.")
        service = {
            "serviceArn": f"arn:aws:ecs:{self.name}:{ACCOUNT_ID}:service/"
            f"{cluster['clusterName']}/{name}",
            "serviceName": name,
            "clusterArn": cluster["clusterArn"],
            "status": "ACTIVE",
            "taskDefinition": definition["taskDefinitionArn"],
            "desiredCount": request.get("desiredCount", 0),
        }
        self.services[service["serviceArn"]] = service
        return {"service": service}

    def list_services(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListServices."""
        cluster = self.cluster(request)["clusterArn"]
        arns = [a for a, service in self.services.items() if service["clusterArn"] == cluster]
        return page("serviceArns", arns, {"maxResults": 10, **request})

    def describe_services(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeServices."""
        names = {name.rsplit("/", 1)[-1] for name in request["services"]}
        found = [s for s in self.services.values() if s["serviceName"] in names]
        return {"services": found, "failures": []}


def rewriting(
    settings: Settings, own: Callable[[], Callable[[dict[str, Any]], None] | None]
) -> Callable[[dict[str, Any]], None]:
    """Changes a definition to how it is described: by the setting, then by a function."""

    def rewrite(definition: dict[str, Any]) -> None:
        for path, value in settings.rewrites.items():
            matching.rewrite(definition, path, value)
        function = own()
        if function is not None:
            function(definition)

    return rewrite
