import pytest

from tests.api.face import Face


@pytest.fixture
def face() -> Face:
    return Face()
