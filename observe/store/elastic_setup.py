"""What a cluster has to be told before lines go there, and how old days leave it. Features are probed, not assumed.

With index lifecycle management a policy deletes old indices; without it (a distribution that lacks it, no privilege) we
delete them ourselves, by the date in their names.
"""

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from observe.store.elastic_link import ElasticSettings, is_other_version, translated
from observe.store.elastic_schema import day_of, template

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

logger = logging.getLogger(__name__)


def prepare(client: "Elasticsearch", settings: ElasticSettings, kind: str) -> bool:
    """Put the index template (and the lifecycle policy, where there is such a thing); whether a policy is in force."""
    policy = _lifecycle(client, settings, kind)
    with translated(settings):
        body = template(
            settings.prefix, kind, shards=settings.shards, replicas=settings.replicas, lifecycle=policy)
        client.indices.put_index_template(
            name=f"{settings.prefix}-{kind}", index_patterns=body["index_patterns"], priority=body["priority"],
            version=body["version"], meta=body["_meta"], template=body["template"],
        )
    return policy is not None


def _lifecycle(client: "Elasticsearch", settings: ElasticSettings, kind: str) -> str | None:
    """The name of our policy, put there; None where the cluster has no lifecycle management for us."""
    from elasticsearch import ApiError, NotFoundError

    name = f"{settings.prefix}-{kind}"
    with translated(settings):
        try:
            client.ilm.get_lifecycle(name=name)
        except NotFoundError:
            pass
        except ApiError as error:
            if error.status_code not in {400, 403, 405} or is_other_version(error):
                raise
            logger.info("the cluster has no lifecycle management for us (%s); old indices are deleted by name",
                        error.status_code)
            return None
        client.ilm.put_lifecycle(name=name, policy={"phases": {
            "hot": {"actions": {}},
            "delete": {"min_age": f"{settings.days(kind)}d", "actions": {"delete": {}}},
        }})
    return name


def sweep(client: "Elasticsearch", settings: ElasticSettings, kind: str, now_ms: int) -> list[str]:
    """Delete the days older than the retention; returns their names."""
    today = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=now_ms)
    oldest = today - timedelta(days=settings.days(kind) + 1)
    with translated(settings):
        found = client.indices.get_settings(
            index=f"{settings.prefix}-{kind}-*", allow_no_indices=True, ignore_unavailable=True,
            filter_path="*.settings.index.uuid",
        )
        gone = sorted(
            name for name in found.body
            if (day := day_of(settings.prefix, kind, name)) is not None and day < oldest
        )
        for name in gone:
            logger.info("deleting %s: older than %d days", name, settings.days(kind))
            client.indices.delete(index=name, ignore_unavailable=True)
    return gone
