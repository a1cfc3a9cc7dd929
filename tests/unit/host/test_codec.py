"""The wire: what goes in comes out, and what is not of this version is refused."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs import IDLE, LOCKED, NONE, REPORTING, cycle, guest_op, job

from bench.wire import codec, record
from bench.wire.codec import WireError, canonical, content_hash, decode, encode, from_json, to_json
from bench.wire.job import BACKINGS, POLICIES, Arm, Ask, Cgroup, Guest, Job, Paths, Phase, Policy
from bench.wire.record import KINDS, End, Hello, LogPart, PhaseDone, Ready, Reply, Samples, Started

NAMES = st.text(max_size=12)
NUMBERS = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, NAMES)
OBJECTS = st.dictionaries(NAMES, st.one_of(LEAVES, st.lists(LEAVES, max_size=3)), max_size=4)
SIZES = st.integers(0, 2**50)
ARMS = st.builds(
    Arm,
    name=NAMES,
    balloon=st.booleans(),
    reporting=st.booleans(),
    mem_lock=st.booleans(),
    backing=st.sampled_from(BACKINGS),
    reporting_order=st.one_of(st.none(), st.integers(0, 12)),
    kernel_args=st.lists(NAMES, max_size=3).map(tuple),
    policy=st.one_of(st.none(), st.builds(Policy, kind=st.sampled_from(POLICIES), params=OBJECTS)),
)
PHASES = st.builds(
    Phase, name=NAMES, kind=NAMES, iteration=st.integers(0, 99), op=NAMES, args=OBJECTS, warmup=st.booleans()
)
JOBS = st.builds(
    Job,
    host=NAMES,
    cell=NAMES,
    arm=ARMS,
    block=st.integers(1, 999),
    order=st.integers(0, 9),
    guest=st.builds(Guest, memory_bytes=st.integers(1, 2**40), vcpus=st.integers(1, 64), accel=NAMES),
    paths=st.builds(Paths, qemu=NAMES, kernel=NAMES, modules=NAMES, image=NAMES),
    phases=st.lists(PHASES, max_size=3).map(tuple),
    sample_hz=st.floats(0.1, 1000),
    cgroup=st.one_of(
        st.none(),
        st.builds(Cgroup, limit_bytes=st.one_of(st.none(), SIZES), swap_limit_bytes=st.one_of(st.none(), SIZES)),
    ),
)
RECORDS = st.one_of(
    st.builds(Hello, pid=st.integers(1, 2**22), host_facts=OBJECTS),
    st.builds(Started, argv=st.lists(NAMES, max_size=3), qemu_pid=st.integers(1, 2**22), wall_time=NAMES),
    st.builds(Ready, ready_s=NUMBERS, facts=OBJECTS),
    st.builds(
        PhaseDone,
        name=NAMES,
        kind=NAMES,
        iteration=st.integers(0, 99),
        warmup=st.booleans(),
        start_s=NUMBERS,
        end_s=NUMBERS,
        result=OBJECTS,
        guest_start_ns=st.one_of(st.none(), st.integers(0, 2**63)),
    ),
    st.builds(LogPart, name=NAMES, text=st.text()),
    st.builds(End, status=NAMES, reason=NAMES, evidence=st.lists(NAMES, max_size=3), sampler=OBJECTS, qmp=OBJECTS),
    st.builds(Reply, data=OBJECTS, error=st.dictionaries(NAMES, NAMES, max_size=2)),
)


@given(JOBS)
def test_a_job_comes_out_of_the_wire_as_it_went_in(item: Job) -> None:
    kind, body = decode(encode("Job", item))
    assert kind == "Job"
    assert from_json(Job, body) == item
    assert from_json(Job, body).id == item.id


@given(RECORDS)
def test_a_record_comes_out_of_the_wire_as_it_went_in(item: record.Record) -> None:
    line = record.encode(item)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert record.decode(line) == item


def test_rows_of_samples_come_out_as_lists_with_the_same_values() -> None:
    sent = Samples([(0.05, "ram", "resident_bytes", 4096.0), (0.05, "psi", "cpu_some_us", 7.0)])
    came = record.decode(record.encode(sent))
    assert isinstance(came, Samples)
    assert [tuple(row) for row in came.rows] == sent.rows


def test_every_record_has_a_kind_under_its_own_name() -> None:
    assert {name: kind.__name__ for name, kind in KINDS.items()} == {name: name for name in KINDS}
    assert set(get_args(record.Record)) == set(KINDS.values())


def test_an_unknown_key_is_refused_by_its_name() -> None:
    body = {**to_json(NONE), "ballon": True}
    with pytest.raises(WireError, match="Arm: unknown keys ballon"):
        from_json(Arm, body)


def test_an_unknown_key_deep_inside_is_refused_too() -> None:
    body = to_json(job(phases=cycle(4096)))
    body["phases"][1]["iterations"] = 3
    with pytest.raises(WireError, match="Phase: unknown keys iterations"):
        from_json(Job, body)


@pytest.mark.parametrize("key", ["host", "arm", "phases"])
def test_a_missing_key_is_refused_by_its_name(key: str) -> None:
    body = to_json(job())
    del body[key]
    with pytest.raises(WireError, match=f"'{key}'"):
        from_json(Job, body)


def test_a_missing_key_with_a_default_is_that_default() -> None:
    assert from_json(Ask, {"what": "doctor"}) == Ask("doctor", {})


@pytest.mark.parametrize("body", [None, [], "job", 3])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    with pytest.raises(WireError, match="an object was expected"):
        from_json(Job, body)


def test_a_tuple_that_is_no_list_is_refused() -> None:
    with pytest.raises(WireError):
        from_json(Job, {**to_json(job()), "phases": 7})


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"Segmentation fault\n",
        b"[]\n",
        b"3\n",
        b"null\n",
        b'{"v": 1}\n',
        b'{"v": 1, "type": "End"}\n',
        b"\xff\xfe\n",
    ],
)
def test_a_line_that_is_none_of_the_wire_is_refused_and_shown(line: bytes) -> None:
    with pytest.raises(WireError, match="not a line of the wire") as caught:
        decode(line)
    assert repr(line[:200]) in str(caught.value)


def test_a_long_wrong_line_is_shown_by_its_start_only() -> None:
    with pytest.raises(WireError) as caught:
        decode(b"x" * 100_000)
    assert len(str(caught.value)) < 300


def test_another_version_of_the_wire_is_refused() -> None:
    line = json.dumps({"v": codec.WIRE_VERSION + 1, "type": "End", "body": {}}).encode()
    with pytest.raises(
        WireError, match=f"wire version {codec.WIRE_VERSION + 1}, this side speaks {codec.WIRE_VERSION}"
    ):
        decode(line)


def test_a_record_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(WireError, match="unknown record 'Job'"):
        record.decode(encode("Job", job()))


def test_the_canonical_bytes_do_not_depend_on_the_order_of_keys() -> None:
    assert canonical({"b": 1, "a": [1, {"d": 2, "c": 3}]}) == b'{"a":[1,{"c":3,"d":2}],"b":1}'


@given(JOBS, st.data())
def test_a_job_that_differs_anywhere_has_another_id(item: Job, data: st.DataObject) -> None:
    other = data.draw(JOBS)
    assert (other.id == item.id) == (canonical(other) == canonical(item))


def test_the_id_is_sixteen_hex_digits_and_stays_what_it_was() -> None:
    # A changed value here means that no run of an older version can be resumed: say so in CHANGELOG.md.
    assert content_hash({"a": 1}) == "015abd7f5cc57a2d"
    assert len(job().id) == 16


def test_another_attempt_is_another_job_with_another_name() -> None:
    first, second = job(REPORTING), job(REPORTING, attempt=2)
    assert first.boot == "local.cycle.b001.reporting"
    assert second.boot == "local.cycle.b001.reporting.try2"
    assert first.id != second.id


def test_the_name_of_a_boot_sorts_by_block() -> None:
    names = [job(NONE, block=number).boot for number in (1, 2, 10, 100)]
    assert names == sorted(names)


def test_only_an_arm_that_reports_must_be_seen_discarding() -> None:
    assert [arm.must_discard for arm in (NONE, IDLE, REPORTING)] == [False, False, True]


def test_a_job_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        job().block = 2  # type: ignore[misc]


def test_a_phase_of_the_script_becomes_plain_json() -> None:
    assert to_json(guest_op("map", "map", bytes=1)) == {
        "name": "map",
        "kind": "guest",
        "iteration": 0,
        "op": "map",
        "args": {"bytes": 1},
        "warmup": False,
        "guest": 0,
    }


def test_a_locked_arm_differs_from_the_reporting_one_in_its_lock_and_name_only() -> None:
    changed = {key for key, value in to_json(LOCKED).items() if value != to_json(REPORTING)[key]}
    assert changed == {"name", "mem_lock"}
