"""The list of mutations (tests/mutations) fits the code and the tests as they are."""

import re
from collections import Counter

import pytest

from tests.mutations import ROOT, Mutation, listed

LISTED = listed()
LISTED_MIN = 30


@pytest.mark.parametrize("mutation", LISTED, ids=[one.title for one in LISTED])
def test_a_mutation_changes_one_place_and_names_a_test(mutation: Mutation):
    source = (ROOT / mutation.file).read_text()
    assert mutation.applied_to(source) != source
    file, _, name = mutation.test.partition("::")
    functions = re.findall(r"^(?:async )?def (test_\w+)\(", (ROOT / file).read_text(), re.MULTILINE)
    assert functions
    assert not name or name in functions


def test_the_list_is_long_and_names_nothing_twice():
    assert len(LISTED) >= LISTED_MIN
    assert max(Counter(one.title for one in LISTED).values()) == 1


def test_a_text_that_is_not_there_once_is_refused():
    mutation = Mutation("", "a.py", "here", "there", "")
    for source in ("", "here and here"):
        with pytest.raises(ValueError, match=r"a\.py has the text \d times, not once: 'here'"):
            mutation.applied_to(source)
