from collections.abc import Iterator

from rtot.metrics import Family, Histogram, counter, gauge, labelled, render


class Some:
    def families(self) -> Iterator[Family]:
        histogram = Histogram((0.1, 1.0))
        for value in (0.05, 0.1, 0.5, 7.0):
            histogram.observe(value)
        yield counter("a_total", "All of a.", 3)
        yield gauge("b", "What b is.", 0.25)
        yield Family("c", "gauge", "By d.", labelled("d", [("x", 1), ("y z", 0)]))
        yield Family("e_seconds", "histogram", "Of e.", histogram.samples('f="g"'))


def test_the_text() -> None:
    assert b"".join(render([Some()])).decode() == (
        "# HELP a_total All of a.\n# TYPE a_total counter\na_total 3\n"
        "# HELP b What b is.\n# TYPE b gauge\nb 0.25\n"
        '# HELP c By d.\n# TYPE c gauge\nc{d="x"} 1\nc{d="y z"} 0\n'
        "# HELP e_seconds Of e.\n# TYPE e_seconds histogram\n"
        'e_seconds_bucket{f="g",le="0.1"} 2\n'
        'e_seconds_bucket{f="g",le="1.0"} 3\n'
        'e_seconds_bucket{f="g",le="+Inf"} 4\n'
        'e_seconds_sum{f="g"} 7.65\n'
        'e_seconds_count{f="g"} 4\n'
    )


def test_a_histogram_without_labels() -> None:
    histogram = Histogram((1.0,))
    histogram.observe(2.0)
    assert [(s.suffix, s.labels, s.value) for s in histogram.samples()] == [
        ("_bucket", 'le="1.0"', 0),
        ("_bucket", 'le="+Inf"', 1),
        ("_sum", "", 2.0),
        ("_count", "", 1),
    ]
