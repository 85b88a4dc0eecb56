from signal import Signals

from rtot.jobs.launch import launch_command, placeholders, stop_command


def test_the_path_follows_the_prefix() -> None:
    assert launch_command((), 7, "cafe", "/s/job-7") == ["/s/job-7"]
    assert launch_command(("nice", "-n", "9"), 7, "cafe", "/s/j") == ["nice", "-n", "9", "/s/j"]


def test_what_stands_in_the_prefix() -> None:
    prefix = ("run", "--name=rtot-{server}-{id}", "{id}{id}")
    assert launch_command(prefix, 7, "cafe", "/s/j") == ["run", "--name=rtot-cafe-7", "77", "/s/j"]


def test_the_path_is_where_it_is_said_to_be() -> None:
    prefix = ("ssh", "host", "sh", "-c", "x < {script}", "--")
    assert launch_command(prefix, 7, "cafe", "/s/j") == [*prefix[:4], "x < /s/j", "--"]


def test_other_braces_are_left_alone() -> None:
    prefix = ("docker", "--format", "{{.Id}}", "{ID}", "{}", "{ id }", "{{id}}")
    words = launch_command(prefix, 7, "cafe", "/s/j")
    assert words == ["docker", "--format", "{{.Id}}", "{ID}", "{}", "{ id }", "{7}", "/s/j"]


def test_what_was_filled_in_is_not_filled_in_again() -> None:
    assert launch_command(("a", "{script}"), 7, "cafe", "/{id}/{server}") == ["a", "/{id}/{server}"]


def test_a_value_stays_one_word() -> None:
    assert launch_command(("{script}",), 7, "cafe", "/a b/'c") == ["/a b/'c"]


def test_stop_commands() -> None:
    words = ("scancel", "--signal={signal}", "--name=rtot-{server}-{id}", "{script}")
    assert stop_command(words, 7, "cafe", Signals.SIGTERM) == [
        *("scancel", "--signal=TERM", "--name=rtot-cafe-7", "{script}")
    ]


def test_which_names_stand_there() -> None:
    assert placeholders(("a{id}", "{signal}{id}", "{x}")) == {"id", "signal"}
