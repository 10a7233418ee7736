"""The database: made from nothing, upgraded once, safe with several processes, and the questions asked of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError, StatementError

from backend.errors import StoreError
from backend.store import Base, ImageRow, ModelVersionRow, Store, SuggestionRow, open_store, session
from backend.store import queries as stored


@pytest.fixture
def url(database_url: str) -> str:
    return database_url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/new/folder/regiontext.db")
    yield opened
    opened.close()


def image(hash: str = "a", arm: str = "assist", task: int = 1) -> ImageRow:
    return ImageRow(hash=hash, task=task, project=1, width=8, height=6, arm=arm)


def suggestion(id: str, **given: object) -> SuggestionRow:
    values: dict[str, object] = {
        "id": id,
        "project": 1,
        "task": 1,
        "region": "r",
        "field": "caption",
        "question": "q",
        "question_hash": "h",
        "options": [],
        "prompt": "p",
        "render_hash": "h",
        "image_hash": "a",
        "view": {},
        "model_version": "m",
        "model": "m",
        "decoding": {},
        "value": ["a red car"],
        "confidence": 0.5,
        "path": "batch",
    }
    return SuggestionRow(**(values | given))


def test_migrations_make_the_tables_that_the_models_say(store: Store) -> None:
    tables = set(inspect(store.engine).get_table_names())
    assert tables == set(Base.metadata.tables) | {"alembic_version"}
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_opening_again_keeps_everything(store: Store, url: str) -> None:
    with store.begin() as session:
        stored.record_image(session, image())
    store.close()
    with open_store(url).read() as session:
        assert session.get(ImageRow, "a") is not None


def test_sqlite_writes_ahead_and_checks_keys(sqlite_store: Store) -> None:
    with sqlite_store.engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1


def test_a_suggestion_needs_an_image_that_was_seen_before(store: Store) -> None:
    with pytest.raises(IntegrityError), store.begin() as session:
        stored.add_suggestions(session, [suggestion("s1")])


def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError), store.begin() as session:
        stored.record_image(session, image())
        raise RuntimeError
    with store.read() as session:
        assert session.get(ImageRow, "a") is None


def test_several_processes_may_open_a_new_database_at_once(url: str) -> None:
    faults: list[BaseException] = []

    def work() -> None:
        try:
            open_store(url).close()
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


def test_writers_wait_for_each_other(store: Store) -> None:
    """Each reads and then writes: without the write lock from the start, SQLite would turn all but one away."""

    def work() -> None:
        for _ in range(20):
            with store.begin() as session:
                row = session.get(ModelVersionRow, "m")
                assert row is not None
                row.metrics = {"n": row.metrics["n"] + 1}

    with store.begin() as session:
        stored.upsert(
            session, ModelVersionRow(name="m", base="m", status="champion", metrics={"n": 0})
        )
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as session:
        row = session.get(ModelVersionRow, "m")
        assert row is not None and row.metrics == {"n": 80}


def at_once(work: Callable[[int], object], number: int = 8) -> list[BaseException]:
    """What `work(0)` … `work(number - 1)` raise when they begin in the same instant."""
    faults: list[BaseException] = []
    start = threading.Barrier(number)

    def run(which: int) -> None:
        start.wait()
        try:
            work(which)
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(which,)) for which in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return faults


def test_a_new_image_may_be_seen_by_several_at_once(store: Store) -> None:
    """Two boxes drawn quickly on a new image are two requests that see it for the first time."""
    for n in range(10):

        def see(which: int, hash: str = f"{n}") -> None:
            with store.begin() as session:
                stored.record_image(session, image(hash, task=which))

        assert at_once(see) == []
    with store.read() as session:
        assert stored.count(session, ImageRow) == 10


def test_announcements_may_be_replaced_by_several_at_once(store: Store) -> None:
    def replace(which: int) -> None:
        with store.begin() as session:
            stored.replace_served_models(session, [{"id": "a", "by": which}, {"id": "b"}])

    assert at_once(replace) == []
    with store.read() as session:
        assert [m["id"] for m in stored.served_models(session)] == ["a", "b"]


def test_a_database_of_a_newer_version_is_left_alone(store: Store, url: str) -> None:
    with store.begin() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(StoreError, match="newer"):
        open_store(url)


@pytest.mark.parametrize(
    "wrong",
    ["nonsense", "nodb://x", "sqlite:////proc/nowhere/x.db", "postgresql://u@host:se:cret@x/db"],
)
def test_a_url_that_cannot_be_opened(wrong: str) -> None:
    with pytest.raises(StoreError) as caught:
        open_store(wrong)
    assert "cret" not in str(caught.value)


def test_what_is_written_is_not_in_an_error(store: Store) -> None:
    with pytest.raises(IntegrityError) as caught, store.begin() as session:
        stored.add_suggestions(session, [suggestion("s1", prompt="a private text")])
    assert "private" not in str(caught.value)


def test_times_come_back_in_utc_and_naive_ones_are_refused(store: Store) -> None:
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    with store.begin() as session:
        session.add(image())
        session.flush()
        session.get_one(ImageRow, "a").first_seen = when
    with store.read() as session:
        assert session.get_one(ImageRow, "a").first_seen == when
    with pytest.raises(StatementError, match="time zone"), store.begin() as session:
        session.get_one(ImageRow, "a").first_seen = datetime(2026, 1, 1)


def test_an_image_may_leave_holdout_but_never_enter_it(store: Store) -> None:
    def see(hash: str, arm: str) -> str:
        with store.begin() as session:
            return stored.record_image(session, image(hash, arm)).arm

    assert see("a", "assist") == "assist" and see("a", "holdout") == "assist"
    assert see("b", "holdout") == "holdout" and see("b", "control") == "holdout"
    assert see("b", "assist") == "assist" and see("b", "holdout") == "assist"


def test_the_image_of_a_task_is_the_last_one_asked_about(store: Store) -> None:
    with store.begin() as session:
        stored.record_image(session, image("a"))
        stored.record_image(session, image("b", task=9))
        stored.add_suggestions(session, [suggestion("s1", image_hash="b")])
    with store.read() as session:
        assert stored.image_of_task(session, 1, 1) == "b"
        assert stored.image_of_task(session, 1, 9) == "b"
        assert stored.image_of_task(session, 1, 5) is None


def test_what_was_suggested(store: Store) -> None:
    with store.begin() as session:
        stored.record_image(session, image())
        stored.add_suggestions(session, [suggestion("s1"), suggestion("s2", value=["x"], task=2)])
    with store.read() as session:
        assert stored.suggested_values(session, 1, 1) == {("r", "caption", ("a red car",))}


def test_one_champion_per_base(store: Store) -> None:
    with store.begin() as session:
        for name in ("a:1", "a:2", "b:1"):
            row = ModelVersionRow(name=name, base=name[0], status="challenger", metrics={})
            stored.upsert(session, row)
        assert stored.champion(session) is None
        for name in ("a:1", "b:1", "a:2"):
            stored.promote(session, name)
        with pytest.raises(KeyError):
            stored.promote(session, "c:1")
    with store.read() as session:
        champions = [stored.champion(session, base) for base in ("a", "b", "c")]
        assert [c.name if c else None for c in champions] == ["a:2", "b:1", None]
        assert session.get_one(ModelVersionRow, "a:1").status == "retired"


def test_events_are_open_until_finished(store: Store) -> None:
    with store.begin() as session:
        first, second = (stored.add_event(session, a, {"n": a}) for a in ("x", "y"))
        stored.finish_event(session, first, error="why")
    with store.read() as session:
        assert [e.id for e in stored.open_events(session)] == [second]


def test_announcements_are_replaced_as_a_whole(store: Store) -> None:
    with store.begin() as session:
        stored.replace_served_models(session, [{"id": "b"}, {"id": "a", "parent": "b"}])
        stored.replace_served_models(session, [{"id": "c"}, {"id": "b"}])
    with store.read() as session:
        assert stored.served_models(session) == [{"id": "c"}, {"id": "b"}]


def test_a_new_file_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    failed: list[Exception] = []

    def connect(url: str, together: threading.Barrier) -> None:
        engine = session._engine(url)
        together.wait()
        try:
            engine.connect().close()
        except Exception as error:  # whatever it is, it must be seen
            failed.append(error)
        finally:
            engine.dispose()

    for number in range(30):
        together = threading.Barrier(6)
        url = f"sqlite:///{tmp_path}/{number}.db"
        openers = [threading.Thread(target=connect, args=(url, together)) for _ in range(6)]
        for opener in openers:
            opener.start()
        for opener in openers:
            opener.join()
    assert failed == []
