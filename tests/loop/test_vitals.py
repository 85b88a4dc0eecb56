from rtot.loop.vitals import Vitals
from rtot.metrics import render


def test_what_the_loop_counts() -> None:
    vitals = Vitals()
    vitals.accepted, vitals.connected = 5, 2
    vitals.turned(0.002)
    text = b"".join(render([vitals])).decode()
    assert "\nrtot_connections_total 5\n" in text
    assert "\nrtot_connections 2\n" in text
    assert '\nrtot_turn_seconds_bucket{le="0.001"} 0\n' in text
    assert '\nrtot_turn_seconds_bucket{le="0.005"} 1\n' in text
