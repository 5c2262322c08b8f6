"""The search for the set of sites that is worth most within a limit, against all sets there are."""

import random
from itertools import combinations

import pytest

from edgeattn.profiling.subsets import Question, Search


class Model:
    """Costs of sites, by themselves and of neighbours that break the same fusion."""

    def __init__(self, seed, count):
        draw = random.Random(seed)
        self.own = [draw.choice([0.2, 0.3, 1, 1.5, 4]) * draw.uniform(0.9, 1.1)
                    for _ in range(count)]  # fmt: skip
        self.pairs = {(a, a + 1): draw.uniform(-0.6, 0.6) for a in range(count - 1)}
        self.asked = []

    def cost(self, sites):
        beside = [(a, b, x) for (a, b), x in self.pairs.items() if {a, b} <= sites]
        shared = sum(x * min(self.own[a], self.own[b]) for a, b, x in beside)
        return 5 + sum(self.own[place] for place in sites) + shared

    def ask(self, sets):
        self.asked += sets
        return [self.cost(one) for one in sets]


def every_set(count):
    return [frozenset(s) for k in range(count + 1) for s in combinations(range(count), k)]


@pytest.mark.parametrize("seed", range(40))
def test_within_one_site_of_the_best_and_few_are_asked(seed):
    model, count = Model(seed, 8), 8
    limit = 5 + random.Random(seed).uniform(0.05, 0.95) * (model.cost(set(range(count))) - 5)
    search = Search(Question([1.0] * count, limit), model.ask)
    found = search.best()
    best = max(len(one) for one in every_set(count) if model.cost(one) <= limit)
    assert model.cost(found) <= limit
    assert best - len(found) <= 1
    assert len(set(model.asked)) == len(model.asked) <= count + 9


def test_values_that_differ_are_weighed_against_costs():
    model = Model(3, 8)
    model.pairs = {}
    values = [3.0, 0.5, 2.0, 1.0, 0.0, 2.5, 1.5, 0.7]
    question = Question(values, 5 + 0.4 * sum(model.own), kept=frozenset([4]))
    found = Search(question, model.ask).best()
    fitting = [s for s in every_set(8) if 4 in s and model.cost(s) <= question.limit]
    assert question.value(found) == max(map(question.value, fitting))


def test_what_is_worth_nothing_stays_out_even_if_all_keeps_the_limit():
    model = Model(0, 4)
    assert Search(Question([1, 0, 1, 1], 100), model.ask).best() == {0, 2, 3}
    assert len(model.asked) == 2


def test_sites_that_are_alike_are_asked_once():
    model = Model(1, 6)
    model.own, model.pairs = [2, 2, 2, 1, 1, 1], {}
    search = Search(Question([1] * 6, 9.5, alike="aaabbb"), model.ask)
    found = search.best()
    assert len(found) == 3
    assert sum(len(one) == 1 for one in model.asked) == 2


def test_no_set_where_what_is_kept_alone_is_too_much():
    model = Model(1, 4)
    limit = model.cost({2}) - 0.01
    assert Search(Question([1] * 4, limit, kept=frozenset([2])), model.ask).best() is None


def test_what_turned_out_dearer_is_not_chosen_again():
    model = Model(2, 6)
    model.pairs = {}
    search = Search(Question([1] * 6, 5 + sum(model.own) / 2), model.ask)
    first = search.best()
    search.known[first] = search.question.limit + 0.01
    second = search.best()
    assert second != first
    assert len(second) >= len(first) - 1
    assert model.cost(second) <= search.question.limit
