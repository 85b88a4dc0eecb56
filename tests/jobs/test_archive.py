"""The archive, and jobs in order of id: compared with a plain dictionary at random."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rtot.config import Settings
from rtot.jobs.archive import JobsById, MemoryArchive, Page, merge
from rtot.jobs.job import Job, Key, Options, State
from rtot.jobs.output import Output, Stream
from rtot.jobs.retention import Retention
from rtot.jobs.selection import Selection
from tests.world import MemoryDisk

ALL = Selection()


def job(job_id: int, label: str = "", key: str | None = None) -> Job:
    options = Options(labels=(label,) if label else ())
    made = Job(job_id, options, Output(MemoryDisk(), str(job_id), limit=100, memory=100), 0)
    made.key = None if key is None else Key(None, key)
    made.state = State.COMPLETE
    return made


def ids(page: Page) -> list[int]:
    return [job.id for job in page.jobs]


def filled(*numbers: int) -> JobsById:
    jobs = JobsById()
    for number in numbers:
        jobs.add(job(number, "odd" if number % 2 else "even"))
    return jobs


def test_pages_in_order_of_id() -> None:
    jobs = filled(5, 1, 9, 3)
    assert jobs.page(ALL, 0, 2, 9) == ([jobs.get(1), jobs.get(3)], 5)
    assert ids(jobs.page(ALL, 4, 9, 9)) == [5, 9]
    assert jobs.page(ALL, 4, 2, 9).next is None
    assert jobs.page(ALL, 10, 9, 9) == ([], None)


def test_a_page_looks_at_so_many_jobs_and_no_more() -> None:
    jobs = filled(*range(10))
    odd = Selection(labels=frozenset({"odd"}))
    assert jobs.page(odd, 0, 9, 4)[1] == 4
    assert ids(jobs.page(odd, 0, 9, 4)) == [1, 3]
    # Full, although there may be no other that is meant.
    assert jobs.page(odd, 0, 5, 99)[1] is None
    assert jobs.page(Selection(labels=frozenset({"even"})), 0, 5, 99)[1] == 9


@pytest.mark.parametrize(
    ("one", "other", "limit", "numbers", "next_"),
    [
        (([1, 4], None), ([2, 3], None), 9, [1, 2, 3, 4], None),
        (([1, 4], None), ([2, 3], None), 4, [1, 2, 3, 4], None),
        (([1, 4], None), ([2, 3], None), 3, [1, 2, 3], 4),
        (([1, 4], 6), ([2, 7], 9), 9, [1, 2, 4], 6),
        (([1, 8], 9), ([], 3), 9, [1], 3),
        (([], None), ([], None), 9, [], None),
    ],
)
def test_two_pages_as_one(
    one: tuple[list[int], int | None],
    other: tuple[list[int], int | None],
    limit: int,
    numbers: list[int],
    next_: int | None,
) -> None:
    pages = [Page([job(number) for number in page[0]], page[1]) for page in (one, other)]
    merged = merge(pages[0], pages[1], limit)
    assert (ids(merged), merged.next) == (numbers, next_)


def test_an_archive_knows_keys_and_forgets_all() -> None:
    archive = MemoryArchive()
    disk = MemoryDisk()
    kept = Job(3, Options(), Output(disk, "3", limit=100, memory=1), 0)
    kept.key = Key("me", "k")
    kept.output.append(Stream.OUT, b"hello", 0)
    assert disk.files
    archive.add(kept, 1.0)
    assert archive.by_key(Key("me", "k")) is archive.get(3) is kept
    assert archive.by_key(Key(None, "k")) is archive.by_key(Key("me", "other")) is None
    archive.remove(kept)
    assert archive.by_key(Key("me", "k")) is archive.get(3) is None
    assert (len(archive), archive.oldest(), disk.files) == (0, None, {})


def test_the_oldest_is_the_one_that_was_added_first() -> None:
    archive = MemoryArchive()
    for number, time in ((7, 1.0), (2, 2.0), (5, 3.0), (1, 4.0)):
        archive.add(job(number), time)
    assert archive.oldest() == (7, 1.0)
    for number, oldest in ((2, (7, 1.0)), (7, (5, 3.0)), (5, (1, 4.0)), (1, None)):
        found = archive.get(number)
        assert found is not None
        archive.remove(found)
        assert archive.oldest() == oldest


def test_retention_of_a_number() -> None:
    archive = MemoryArchive()
    retention = Retention(Settings(keep=2), archive)
    assert (retention.overdue(0.0, ()), retention.next_deadline()) == (None, None)
    for number in (5, 3, 4):
        assert retention.overdue(0.0, ()) is None
        archive.add(job(number), 1.0)
    assert (retention.overdue(1.0, ()), retention.next_deadline()) == (archive.get(5), None)


def test_retention_of_an_age() -> None:
    archive = MemoryArchive()
    retention = Retention(Settings(ttl=10.0), archive)
    assert (retention.overdue(99.0, ()), retention.next_deadline()) == (None, None)
    archive.add(job(5), 1.0)
    archive.add(job(3), 2.0)
    assert retention.next_deadline() == 11.0
    assert [retention.overdue(now, ()) for now in (10.9, 11.0, 99.0)] == [
        None,
        *[archive.get(5)] * 2,
    ]


def test_no_retention() -> None:
    archive = MemoryArchive()
    archive.add(job(1), 0.0)
    retention = Retention(Settings(), archive)
    assert (retention.overdue(1e9, ()), retention.next_deadline()) == (None, None)


def test_what_is_watched_is_spared_and_does_not_count() -> None:
    archive = MemoryArchive()
    retention = Retention(Settings(keep=1), archive)
    for number in (1, 2, 3):
        archive.add(job(number), float(number))
    watched = {1, 2}
    assert retention.overdue(9.0, watched) is None
    assert (archive.oldest(), archive.spared) == ((3, 3.0), 2)
    archive.add(job(4), 4.0)
    found = retention.overdue(9.0, watched)
    assert found is not None
    assert found is archive.get(3)
    archive.remove(found)
    assert retention.overdue(9.0, watched) is None
    # One of them was deleted by hand, the other one is not watched any more.
    found = archive.get(1)
    assert found is not None
    archive.remove(found)
    for number in (1, 2, 77):
        retention.unwatched(number)
    found = retention.overdue(9.0, ())
    assert found is not None
    assert found is archive.get(2)
    archive.remove(found)
    assert retention.overdue(9.0, ()) is None
    assert (len(archive), archive.oldest(), archive.spared) == (1, (4, 4.0), 0)


def test_one_that_was_spared_is_kept_if_there_is_room_again() -> None:
    archive = MemoryArchive()
    retention = Retention(Settings(keep=1), archive)
    for number in (1, 2):
        archive.add(job(number), float(number))
    assert retention.overdue(9.0, {1}) is None
    archive.remove(job(2))
    retention.unwatched(1)
    assert retention.overdue(9.0, ()) is None
    archive.add(job(3), 3.0)
    assert retention.overdue(9.0, ()) is archive.get(1)


def test_an_age_that_is_over_for_one_that_is_watched() -> None:
    archive = MemoryArchive()
    retention = Retention(Settings(ttl=0.0), archive)
    archive.add(job(1), 1.0)
    assert retention.next_deadline() == 1.0
    assert retention.overdue(1.0, {1}) is None
    assert retention.next_deadline() is None
    retention.unwatched(1)
    assert retention.next_deadline() == 1.0
    assert retention.overdue(1.0, ()) is archive.get(1)


def test_the_order_of_age_stays_small() -> None:
    archive = MemoryArchive()
    archive.add(job(0), 0.0)
    for number in range(1, 1000):
        archive.add(job(number), float(number))
        archive.remove(job(number))
    assert len(archive._added) == len(archive._times) <= 67
    assert len(archive._by_change) <= 70
    assert archive.oldest() == (0, 0.0)


class JobsByIdMachine(RuleBasedStateMachine):
    """Whatever is added and removed, pages are what a sorted dictionary would give."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs = JobsById()
        self.model: dict[int, Job] = {}
        self.used: set[int] = set()

    @rule(count=st.integers(1, 120), gap=st.integers(1, 3))
    def add_newer(self, count: int, gap: int) -> None:
        first = max(self.used, default=0) + gap
        for number in range(first, first + count * gap, gap):
            self.add(number)

    @rule(number=st.integers(0, 300))
    def add(self, number: int) -> None:
        if number not in self.used:
            self.used.add(number)
            self.model[number] = job(number)
            self.jobs.add(self.model[number])

    @precondition(lambda self: self.model)
    @rule(data=st.data(), count=st.integers(1, 150), oldest=st.booleans())
    def remove(self, data: st.DataObject, count: int, oldest: bool) -> None:
        for _ in range(min(count, len(self.model))):
            numbers = sorted(self.model)
            number = numbers[0] if oldest else data.draw(st.sampled_from(numbers))
            del self.model[number]
            self.jobs.remove(number)

    @rule(first=st.integers(0, 400), limit=st.integers(1, 9))
    def page(self, first: int, limit: int) -> None:
        expected = sorted(number for number in self.model if number >= first)
        page = self.jobs.page(ALL, first, limit, 1000)
        assert ids(page) == expected[:limit]
        assert page.next == (expected[limit] if len(expected) > limit else None)

    @rule(first=st.integers(0, 400), limit=st.integers(1, 9))
    def page_down(self, first: int, limit: int) -> None:
        expected = sorted((number for number in self.model if number <= first), reverse=True)
        page = self.jobs.page(ALL, first, limit, 1000, down=True)
        assert ids(page) == expected[:limit]
        assert page.next == (expected[limit] if len(expected) > limit else None)

    @invariant()
    def all_are_there_and_few_that_are_gone(self) -> None:
        assert len(self.jobs) == len(self.model)
        assert ids(self.jobs.page(ALL, 0, 10_000, 10_000)) == sorted(self.model)
        assert len(self.jobs._ids) <= 128 + 4 * len(self.model)
        assert all(self.jobs.get(number) is made for number, made in self.model.items())


TestJobsById = JobsByIdMachine.TestCase
