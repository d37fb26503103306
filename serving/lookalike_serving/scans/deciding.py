"""What a person decides about the documents of a report, and what holds of it when the report is
applied.

A decision is kept with the scan. "Not a duplicate" is more: it is said of the pictures themselves,
for all later scans and questions, until another decision takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from lookalike_serving.copies.dismissals import dismiss, dismissals_of
from lookalike_serving.scans.record import Group
from lookalike_serving.scans.store import ScanStore
from lookalike_serving.service import Service


class Decision(StrEnum):
    """What a person decided about a document of a group."""

    DELETE = "delete"
    KEEP = "keep"
    DISMISSED = "dismissed"
    """It is not a duplicate: that is noted as a dismissal, too."""


async def decide(
    service: Service,
    collection: str,
    store: ScanStore,
    scan: str,
    group: Group,
    decisions: Mapping[str, Decision | None],
) -> dict[str, str]:
    """Note decisions about members of a group, by document id; None takes one back. All that are
    noted of the group then.

    Raises Problem 404 if a document that is dismissed is not there any more, and IndexFailure.
    """
    keeper = group.keeper.document_id
    async with service.document_lock(collection, f"{scan} {group.number}"):
        noted = (await store.decided(scan, [group.number])).get(group.number, {})
        for id, decision in decisions.items():
            if decision is Decision.DISMISSED:
                await dismiss(service, collection, [keeper, id])
            elif noted.get(id) == Decision.DISMISSED:
                await (await dismissals_of(service, collection)).lift([keeper, id])
            if decision is None:
                noted.pop(id, None)
            else:
                noted[id] = decision.value
        await store.save_decided(scan, group.number, noted)
    return noted


async def spared(
    service: Service, collection: str, store: ScanStore, scan: str, groups: Sequence[Group]
) -> dict[str, str]:
    """Members that stay, whoever applies the report, and why: by document id. Raises Problem 404 or
    503, and IndexFailure."""
    found = {
        id: _WHY[Decision(decision)]
        for decided in (await store.decided(scan, [group.number for group in groups])).values()
        for id, decision in decided.items()
        if Decision(decision) is not Decision.DELETE
    }
    pairs = [
        [(each.document_id, each.picture) for each in (group.keeper, member.document)]
        for group in groups
        for member in group.members
    ]
    for pair in await (await dismissals_of(service, collection)).among(pairs):
        found[pair[1][0]] = _WHY[Decision.DISMISSED]
    return found


_WHY = {
    Decision.KEEP: "it was decided to keep it",
    Decision.DISMISSED: "it was decided that it is not a duplicate",
}
