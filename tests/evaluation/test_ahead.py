import threading

import pytest

from decider.evaluation.ahead import SideBySide, ahead


def test_items_come_in_order_made_on_another_thread():
    made_by = set()

    def items():
        for number in range(50):
            made_by.add(threading.get_ident())
            yield number

    assert list(ahead(items())) == list(range(50))
    assert threading.get_ident() not in made_by
    assert list(ahead([])) == []


def test_one_item_is_made_ahead_and_no_more():
    # The second item tells that it is being made; the third must wait until the second is taken.
    made = [threading.Event() for _ in range(4)]

    def items():
        for event in made:
            event.set()
            yield event

    source = ahead(items())
    assert next(source) is made[0]
    assert made[1].wait(10)
    assert not made[2].is_set()
    assert next(source) is made[1]
    assert made[2].wait(10)
    source.close()
    assert not made[3].is_set()


def test_what_goes_wrong_is_raised_in_its_turn():
    def items():
        yield 1
        raise KeyError("broken")

    source = ahead(items())
    assert next(source) == 1
    with pytest.raises(KeyError, match="broken"):
        next(source)


@pytest.mark.parametrize("threads", [1, 3])
def test_work_side_by_side_keeps_its_order_and_its_first_error(threads):
    with SideBySide(threads) as side:
        assert side.map(lambda number: number**2, range(20)) == [number**2 for number in range(20)]
        with pytest.raises(ZeroDivisionError):
            side.map(lambda number: 1 // number, [1, 0, 2])
        with pytest.raises(KeyError):
            side.map({1: 2}.__getitem__, [1, 3, 4])
