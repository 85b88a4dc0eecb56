from rtot.loop.run import Run


def test_descriptors_by_their_numbers() -> None:
    run = Run(7, 1234, [(1, 20), (2, 21), (0, 22)])
    assert [descriptor.fd for descriptor in run.outputs] == [20, 21]
    assert run.stdin is run.descriptors[2]
    assert all(descriptor.run is run for descriptor in run.descriptors)


def test_a_run_without_stdin() -> None:
    assert Run(7, 1234, [(1, 20), (2, 21)]).stdin is None
