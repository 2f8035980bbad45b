"""The digest of a request: the same bytes whether it is put together from parts or encoded as a whole."""

from __future__ import annotations

import hashlib

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from decider.decision.check import digest_of
from decider.decision.request import MemberRequest

TEXT = st.text(st.characters(codec="utf-8"), max_size=50)
INT64 = st.integers(-(2**63), 2**63 - 1)
REQUEST = st.builds(
    MemberRequest,
    member_id=INT64 | TEXT, request_id=TEXT, decision_time_micros=INT64, policy=TEXT, epoch=st.none() | INT64,
    channels=st.none() | st.lists(TEXT, max_size=3).map(tuple), dry_run=st.booleans(), trace=st.booleans(),
)  # fmt: skip


def digest_of_whole(request: MemberRequest) -> str:
    body = msgspec.to_builtins(request) | {"whole_snapshot": False}
    del body["trace"]
    return hashlib.sha256(msgspec.json.encode(body, order="deterministic")).hexdigest()


@given(REQUEST)
def test_parts_make_the_whole(request: MemberRequest) -> None:
    assert digest_of(request) == digest_of_whole(request)


@given(
    REQUEST, st.dictionaries(TEXT, st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=2)
)
def test_overrides_are_part_of_it(request: MemberRequest, context: dict[str, float]) -> None:
    overridden = structs.replace(request, context=context)
    assert digest_of(overridden) == digest_of_whole(overridden) != digest_of(request)


def test_it_stays_what_it_was() -> None:
    """A retry across versions is known by it: this one is of the first version that had one."""
    request = MemberRequest(
        member_id=7, request_id="r", decision_time_micros=1_790_000_000_000_000, policy="p"
    )
    assert digest_of(request) == digest_of_whole(request)
    body = (
        '{"channels":null,"context":{},"decision_time_micros":1790000000000000,"dry_run":false,"epoch":null,'
        '"member_id":7,"pair_features":{},"policy":"p","request_id":"r","whole_snapshot":false}'
    )
    assert digest_of(request) == hashlib.sha256(body.encode()).hexdigest()
