"""Rules of a pause: what is admitted, what is fetched, and when a shard tries again. No Kafka."""

from collections.abc import Iterable

from processors.fold.inputs import InputRecord, ReadInput
from processors.runtime.turn.pauses import Pause, Stage

STANDS = {"wf-commands": 3, "external-events": 7, "operator-commands": 0}


def reads(topic: str, offsets: Iterable[int]) -> list[ReadInput]:
    return [ReadInput(InputRecord(topic, 0, offset, 0, b"key", b"value")) for offset in offsets]


def commands(*offsets: int) -> list[ReadInput]:
    return reads("wf-commands", offsets)


def events(*offsets: int) -> list[ReadInput]:
    return reads("external-events", offsets)


def operator(*offsets: int) -> list[ReadInput]:
    return reads("operator-commands", offsets)


def records(reads: Iterable[ReadInput]) -> list[InputRecord]:
    return [read.record for read in reads]


def broke(pause: Pause, broken: ReadInput | None, folded: Iterable[ReadInput]) -> InputRecord | None:
    """The record that is to blame."""
    return pause.broke(broken.record if broken else None, records(folded))


def broken_at(broken: ReadInput) -> Pause:
    pause = Pause()
    assert broke(pause, broken, [broken]) == broken.record
    pause.loaded(STANDS)
    return pause


def test_what_comes_before_the_record_is_folded_and_then_it_stands() -> None:
    pause = broken_at(events(9)[0])
    assert pause.admit([*events(7), *commands(3), *events(8, 9), *commands(4)]) == [
        *events(7),
        *commands(3),
        *events(8),
    ]
    assert not pause.fetches("wf-commands")
    assert not pause.fires_timers
    # The turn had no time for the last one: it is folded before the shard stands.
    assert pause.admit(events(8)) == events(8)
    assert pause.stage is Stage.APPROACHING
    assert pause.admit([]) == []
    assert pause.stage is Stage.STANDING
    assert pause.fetches("operator-commands")


def test_a_shard_that_is_loaded_at_the_record_stands_at_once() -> None:
    assert broken_at(events(7)[0]).stage is Stage.STANDING


def test_it_tries_again_after_an_operator_command_and_goes_on_once_it_is_past_the_record() -> None:
    pause = broken_at(events(7)[0])
    assert pause.admit(operator(0)) == operator(0)
    pause.committed(records(operator(0)))
    assert pause.stage is Stage.TRYING
    assert pause.to_be_fetched_anew
    assert not pause.is_over(STANDS)
    assert pause.admit(events(7, 8)) == events(7, 8)
    assert pause.is_over({**STANDS, "external-events": 8})


def test_an_operator_command_that_was_folded_on_the_way_counts() -> None:
    pause = broken_at(events(9)[0])
    assert pause.admit([*operator(0), *events(7)]) == [*operator(0), *events(7)]
    pause.committed(records([*operator(0), *events(7)]))
    assert pause.stage is Stage.TRYING


def test_two_records_of_two_topics_that_break_it_in_turn_do_not_keep_it_loading_for_ever() -> None:
    pause = broken_at(events(9)[0])
    broke(pause, commands(5)[0], commands(5))
    pause.loaded(STANDS)
    assert pause.admit([*events(9), *commands(3, 4, 5)]) == []
    assert pause.stage is Stage.STANDING


def test_where_no_record_can_be_blamed_they_are_folded_one_at_a_time() -> None:
    pause = Pause()
    assert broke(pause, None, [*events(7, 8), *commands(3)]) is None
    pause.loaded(STANDS)
    assert pause.one_at_a_time
    assert pause.admit(events(7, 8)) == events(7, 8)
    assert broke(pause, None, events(8)) == events(8)[0].record
    pause.loaded({**STANDS, "external-events": 8})
    assert pause.stage is Stage.STANDING


def test_timers_that_break_are_tried_again_after_an_operator_command_only() -> None:
    pause = Pause()
    assert broke(pause, None, []) is None
    pause.loaded(STANDS)
    assert pause.stage is Stage.STANDING
    assert not pause.fires_timers
    pause.committed(records(operator(0)))
    assert pause.fires_timers
    assert not pause.is_over(STANDS)
    pause.timers_fine()
    assert pause.is_over(STANDS)


def test_behind_an_operator_command_that_breaks_it_a_newer_one_makes_it_try_all_of_them() -> None:
    pause = broken_at(operator(0)[0])
    assert pause.admit(operator(0)) == []
    assert pause.admit([]) == []
    assert pause.admit(operator(1)) == operator(0, 1)
    assert pause.stage is Stage.TRYING
    broke(pause, operator(0)[0], operator(0))
    pause.loaded(STANDS)
    # One was not folded, but has been tried with: it does not bring about another try for ever.
    assert pause.admit(operator(0, 1)) == operator(0, 1)
    broke(pause, operator(0)[0], operator(0, 1))
    pause.loaded(STANDS)
    assert pause.admit(operator(0, 1)) == []
