"""Topic filters: what they match, and that a set of them is reduced to one where each message comes once."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from ohmstead.mqtt import _publish_packet
from ohmstead.topics import disjoint, join, matches, overlap

LEVEL = st.sampled_from(["a", "b", "c"])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join)
PATTERN = st.tuples(st.lists(st.sampled_from(["a", "b", "+"]), min_size=0, max_size=3), st.sampled_from(["a", "+", "#"])).map(
    lambda parts: "/".join([*parts[0], parts[1]])
)


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("#", "a/b", True),
        ("#", "$SYS/uptime", False),
        ("+/uptime", "$SYS/uptime", False),
        ("$SYS/#", "$SYS/uptime", True),
        ("a/b", "a", False),
        ("a", "a/b", False),
        ("+/+", "/b", True),
    ],
)
def test_a_filter_matches_what_the_standard_says(pattern: str, topic: str, expected: bool) -> None:
    assert matches(pattern, topic) is expected


@given(PATTERN, PATTERN, TOPIC)
def test_two_filters_that_match_one_topic_overlap_and_their_join_matches_whatever_either_does(one: str, other: str, topic: str) -> None:
    if matches(one, topic) and matches(other, topic):
        assert overlap(one, other)
    if matches(one, topic) or matches(other, topic):
        assert matches(join(one, other), topic)


@given(st.lists(PATTERN, max_size=6), TOPIC)
def test_after_the_joins_each_wanted_message_arrives_exactly_once(patterns: list[str], topic: str) -> None:
    wanted = any(matches(pattern, topic) for pattern in patterns)
    deliveries = sum(matches(pattern, topic) for pattern in disjoint(patterns))
    assert deliveries <= 1
    assert deliveries == 1 or not wanted


def test_filters_that_do_not_overlap_stay_as_they_are() -> None:
    patterns = ["ohm/home/node/+/up/#", "homeassistant/status", "MTEC/+/+/+/set"]
    assert disjoint(patterns) == patterns


@given(st.text("abc/é", min_size=1, max_size=20), st.sampled_from([0, 1, 50, 127, 128, 16_000, 16_383, 16_384, 70_000]), st.booleans())
def test_a_packet_of_ours_is_the_one_that_paho_would_send(topic: str, length: int, retain: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        client = Client(CallbackAPIVersion.VERSION2)
        client._sock = ours  # as if it were connected
        client.publish(topic, b"x" * length, 0, retain)
        client._sock = None
        ours.close()
        sent = b"".join(iter(lambda: theirs.recv(1 << 20), b""))
    name = topic.encode()
    assert _publish_packet(len(name).to_bytes(2, "big") + name, b"x" * length, retain) == sent
