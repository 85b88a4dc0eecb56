"""All benchmarks: a table of ratios, each against a floor or a peer measured in the same run.

python -m tests.bench                       all of it, in a quarter of an hour
python -m tests.bench --quick               the same with little, to see that it works
python -m tests.bench --only load           one of output, load, footprint, streams, order, slurm,
                                            state, client
python -m tests.bench --peer NAME=URL       beside another server that speaks the same wire,
                                            with the secret "bench"

A row: what is measured, the median (and range) of ratios taken in turns, the goal.
"""

import argparse

from tests.bench import client, footprint, load, order, output, slurm, state, streams

PARTS = ("output", "load", "footprint", "streams", "order", "slurm", "state", "client")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=URL")
    options = parser.parse_args()
    peers = dict(peer.split("=", 1) for peer in options.peer)
    quick = options.quick
    rounds = 1 if quick else 5
    if options.only in (None, "load"):
        seconds = 1 if quick else 3
        load.jobs(80 if quick else 3000, seconds, rounds, peers)
        load.requests(2000 if quick else 60_000, seconds, rounds, peers)
        load.ping(50 if quick else 2000, rounds)
    if options.only in (None, "footprint"):
        footprint.start(1 if quick else 11)
        if quick:
            footprint.scale(80, 100, 10, 1, 1)
        else:
            footprint.scale(100_000, 10_000, 1000, 3, 5)
    if options.only in (None, "output"):
        blocks, ticks = (64, 20) if quick else (16384, 500)
        output.ingest(blocks, rounds)
        output.download(blocks, rounds)
        output.follow(1, ticks, "<= 2")
        output.follow(5 if quick else 200, ticks, "<= 20")
    if options.only in (None, "streams"):
        streams.one_request(10 if quick else 300, rounds)
        streams.through(64 if quick else 8192, rounds, peers=not quick)
        streams.tail(64 if quick else 16384, rounds)
        streams.idle_followers(20 if quick else 1000, 0.5 if quick else 10)
    if options.only in (None, "order"):
        order.waiting(100 if quick else 1000, 1000 if quick else 100_000, rounds)
    if options.only in (None, "slurm"):
        # Slurm's scheduler lets all wait for a second now and then: many rounds.
        slurm.jobs(24 if quick else 200, 1 if quick else 15)
        slurm.one(4 if quick else 60, rounds)
        slurm.held(4 if quick else 16)
    if options.only in (None, "state"):
        state.jobs(1 if quick else 3, rounds)
        state.calls(1 if quick else 5)
        state.ingest(64 if quick else 16384, rounds)
        state.size(1 if quick else 11, 100 if quick else 100_000)
        if quick:
            state.recovery(100, 10, 10, 1)
            state.pages(1000)
        else:
            state.recovery(100_000, 1000, 100, rounds)
            state.pages(1_000_000)
    if options.only in (None, "client"):
        client.events(1_000_000 if quick else 60_000_000, rounds)
        client.run(1 if quick else 11)


if __name__ == "__main__":
    main()
