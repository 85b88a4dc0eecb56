from signal import Signals

from rtot.config import Settings
from rtot.jobs.commands import Outbox
from rtot.jobs.endings import Endings
from rtot.jobs.job import PLAIN, Job
from rtot.jobs.output import Output
from rtot.jobs.stop import Scope, Signal, Stop, Survey
from tests.world import WHY, MemoryDisk

TERM, KILL = Signals.SIGTERM, Signals.SIGKILL


def make_job(job_id: int) -> Job:
    job = Job(job_id, PLAIN, Output(MemoryDisk(), str(job_id), limit=1, memory=1), 0)
    job.pid = 100 + job_id
    return job


def begin(endings: Endings, job_id: int = 0) -> Stop:
    return endings.begin(make_job(job_id), TERM, 5.0, WHY, 0.0)


def test_a_stop_from_its_beginning_to_its_end() -> None:
    outbox = Outbox()
    endings = Endings(Settings(), outbox)
    stop = begin(endings)
    assert endings
    assert outbox.take_commands() == [Signal(stop, TERM, Scope.TREE)]
    assert endings.next_deadline() == stop.due
    assert endings.expire(stop.due) == []
    assert outbox.take_commands() == [Survey(stop, Scope.TREE)]
    # Given out once, it is due again.
    assert endings.next_deadline() == stop.due
    assert not endings.surveyed(stop, {100: "job"}, 0.1)
    assert outbox.take_changes() == set()
    assert endings.surveyed(stop, {}, 0.2)
    assert (bool(endings), endings.next_deadline(), outbox.take_changes()) == (False, None, {0})
    # A second survey may have been under way.
    assert not endings.surveyed(stop, {}, 0.3)
    assert outbox.take_changes() == set()


def test_several_of_one_job() -> None:
    outbox = Outbox()
    endings = Endings(Settings(), outbox)
    one, two, other = begin(endings), begin(endings), begin(endings, 1)
    outbox.take_commands()
    assert endings.surveyed(one, {}, 1.0)
    endings.cancel_grace(1.0)
    assert outbox.take_commands() == [Signal(stop, KILL, Scope.TREE) for stop in (two, other)]
    assert endings.surveyed(two, {}, 1.1)
    assert endings
    assert endings.surveyed(other, {}, 1.1)
    assert not endings


def test_one_that_is_over_by_the_clock() -> None:
    endings = Endings(Settings(), Outbox())
    stop = endings.begin(make_job(7), KILL, None, WHY, 0.0)
    over: list[tuple[Job, Stop]] = []
    while not over:
        due = endings.next_deadline()
        assert due is not None
        over = endings.expire(due)
    assert [(job.id, ended) for job, ended in over] == [(7, stop)]
    assert stop.over
    assert not endings
