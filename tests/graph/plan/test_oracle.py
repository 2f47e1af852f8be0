"""Plans and resolvers answer alike: documents made at random over real rows, as everybody, and with a database down.

What that means is in ``executors.py``.
"""

from random import Random

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.graph import context
from app.graph.engine import Request
from app.viewer import Viewer
from tests.graph.plan.conftest import World
from tests.graph.plan.documents import VARIABLES, Documents


def test_plans_and_resolvers_answer_alike(world: World) -> None:
    compiled = refused = 0

    @hypothesis_settings(print_blob=False)
    @given(st.integers(0, 2**63), st.sampled_from(world.viewers), st.sampled_from([0, 1, 16]))
    def examples(seed: int, viewer: Viewer, few: int) -> None:
        nonlocal compiled, refused
        document = Documents(Random(seed), world.ids).document()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(context, "MOST_WITH_LISTS", few)
            answer = world.executors.answer(Request(document, variables=VARIABLES), viewer)
        compiled += answer.is_compiled
        refused += answer.refused

    examples()
    assert compiled > refused, (compiled, refused)
