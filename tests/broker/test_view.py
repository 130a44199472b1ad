"""`halter view` on a real Kafka: it fills a view and keeps it current, whatever is killed."""

import resource
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from sqlalchemy import func, select

from halter.client import Client
from halter.view import tables
from halter.view.place import View, open_view
from tests.support.command_line import Ended
from tests.support.halter_processes import ROOT, Halter
from tests.support.postgres import Postgres
from tests.support.view_check import differences
from tests.support.view_contents import contents
from tests.support.waiting import wait_until

PARTITIONS = 2


@pytest.fixture(scope="module")
def shop(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Halter]:
    """An installation with a worker, where carts run, are deleted, stopped, forked and put into quarantine."""
    it = Halter(bootstrap, f"test-{uuid.uuid4().hex[:12]}-", tmp_path_factory.mktemp("shop"), PARTITIONS)
    with it.worker():
        with it.client() as client:
            client.register(ROOT / "examples" / "cart" / "cart.yaml")
            run_carts(client, "first", 3)
            for command in (client.stop, client.quarantine, client.delete):
                command(f"first-{command.__name__}")
            client.run("cart", {"customer": "Ann", "card": "c"}, wf_run_id="first-delete").outcome()
            client.post("first-early", "address-changed", "x", event_id="e1").outcome()
        yield it


def run_carts(client: Client, name: str, count: int) -> None:
    """Run carts, some of which are interrupted and checked out."""
    ids = [f"{name}-{it}" for it in (*range(count), "stop", "quarantine", "delete")]
    for wf_run_id in ids:
        client.run("cart", {"customer": "Ann", "card": "4111"}, wf_run_id=wf_run_id)
    posted = [client.post(it, "address-changed", f"{it} Road", event_id="a1") for it in ids]
    posted += [client.post(it, "checkout", event_id="c1") for it in ids[::2]]
    posted[-1].outcome()


def view_of(it: Halter, url: Path, *options: str) -> Ended:
    """Run `halter view --once` and expect that it ends well."""
    done = it.command("view", "--url", str(url), "--once", *options)
    assert done.returncode == 0, done.stderr
    return done


def expect_whole(it: Halter, view: View) -> None:
    """Expect that a view equals the fold of the log, as far as it has read it, and that this is all."""
    with it.client() as client:
        assert differences(client, view) == []
        with view.read() as connection:
            read = dict(connection.execute(select(tables.partitions.c.partition, tables.partitions.c.log_offset)).all())
        for partition, offset in read.items():
            assert offset >= client.reader.end(it.topics.wf_events, partition) - 1  # the last may be a mark


def test_a_view_equals_the_fold_of_the_log(shop: Halter, tmp_path: Path) -> None:
    url = tmp_path / "view.db"
    view_of(shop, url, "--with-masked")
    with open_view(str(url)).read() as connection:
        assert (connection.execute(select(func.count()).select_from(tables.wf_runs)).scalar() or 0) >= 5
    expect_whole(shop, open_view(str(url)))
    with shop.client() as client:
        run_carts(client, "second", 2)
    view_of(shop, url, "--with-masked")
    expect_whole(shop, open_view(str(url)))
    rebuilt = tmp_path / "rebuilt.db"
    view_of(shop, rebuilt, "--with-masked")
    beside = ("partitions", "source")
    assert contents(open_view(str(rebuilt)), without=beside) == contents(open_view(str(url)), without=beside)


def test_the_check_sees_a_row_that_is_wrong(shop: Halter, tmp_path: Path) -> None:
    url = tmp_path / "view.db"
    view_of(shop, url, "--with-masked")
    with open_view(str(url), writable=True).write() as connection:
        connection.exec_driver_sql("UPDATE wf_runs SET seq = seq + 1 WHERE wf_run_id = 'first-0'")
        connection.exec_driver_sql("DELETE FROM state WHERE wf_run_id = 'first-1'")
    with shop.client() as client:
        found = "\n".join(differences(client, open_view(str(url))))
    assert "wf_runs ('first-0',).seq" in found
    assert "state ('first-1'" in found


def test_a_view_that_is_killed_again_and_again_misses_nothing(shop: Halter, tmp_path: Path) -> None:
    url = tmp_path / "view.db"
    for round_ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "halter", "view", "--url", str(url), "--with-masked"],
            env=shop.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until("the beginning of the view", url.exists, 30)
        with shop.client() as client:
            run_carts(client, f"killed-{round_}", 2)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    view_of(shop, url, "--with-masked")
    expect_whole(shop, open_view(str(url)))


def test_a_rebuild_goes_beside_readers_and_another_writer_is_told(shop: Halter, tmp_path: Path) -> None:
    url = tmp_path / "view.db"
    view_of(shop, url)
    view = open_view(str(url))
    with shop.process("view", "-m", "halter", "view", "--url", str(url)):
        second = shop.command("view", "--url", str(url), "--once")
        assert second.returncode == 1
        assert "another `halter view`" in second.stderr
        status = shop.command("view", "status", "--url", str(url))
        assert (status.returncode, "READY" in status.stdout) == (0, True), status.stderr
    with view.read() as connection:
        before = connection.execute(select(func.count()).select_from(tables.wf_runs)).scalar()
        view_of(shop, url, "--rebuild")
        assert connection.execute(select(func.count()).select_from(tables.wf_runs)).scalar() == before
        built_before = connection.execute(select(tables.source.c.built_ms)).scalar() or 0
    with view.read() as connection:
        assert (connection.execute(select(tables.source.c.built_ms)).scalar() or 0) > built_before
    refused = shop.command("view", "--url", str(url), "--once", "--with-masked")
    assert refused.returncode == 1
    assert "--rebuild" in refused.stderr


def test_a_view_goes_on_when_its_database_is_back_and_its_disk_has_room(
    shop: Halter, tmp_path: Path, postgres_server: Postgres
) -> None:
    """PostgreSQL is started anew, and the file of SQLite cannot grow: all is there afterwards, once."""
    file, database = tmp_path / "view.db", postgres_server.url
    view_of(shop, file, "--with-masked")
    sqlite = shop.process("full", "-m", "halter", "view", "--url", str(file), "--with-masked")
    postgres = shop.process("away", "-m", "halter", "view", "--url", database, "--with-masked")
    with sqlite as full, postgres, shop.client() as client:
        resource.prlimit(full.pid, resource.RLIMIT_FSIZE, (4_096, resource.RLIM_INFINITY))
        with postgres_server.away():
            run_carts(client, "meanwhile", 2)
            for name in ("full", "away"):
                log = shop.folder / f"{name}.log"
                wait_until(f"{name}: it waits", lambda log=log: "waiting_for_database" in log.read_text(), 60)
            status = shop.command("view", "status", "--url", database)
            assert status.returncode == 1
            assert "the database does not answer" in " ".join(status.stderr.split())
        resource.prlimit(full.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        run_carts(client, "back", 1)
        for url in (str(file), database):
            wait_until(f"{url}: all is read", lambda url=url: has_read_all(client, url), 90, every_s=0.5)
    for url in (str(file), database):
        expect_whole(shop, open_view(url))


def has_read_all(client: Client, url: str) -> bool:
    """Say whether a view is where the log ends."""
    view = open_view(url)
    try:
        with view.read() as connection:
            columns = tables.partitions.c
            read = dict(connection.execute(select(columns.partition, columns.log_offset)).all())
    finally:
        view.close()
    return all(read[it] >= client.reader.end(client.topics.wf_events, it) - 1 for it in range(PARTITIONS))


def row_is_there(client: Client, wf_run_id: str) -> bool:
    """Say whether the row of a WfRun is as new as the log."""
    row, run = client.row(wf_run_id), client.get(wf_run_id)
    return row is not None and run is not None and row.seq == run.seq


def test_a_view_whose_log_was_truncated_is_built_anew_and_has_what_is_left(shop: Halter, tmp_path: Path) -> None:
    """Kafka has deleted what the view had not read yet, as retention does. The last test: others need the whole log."""
    url, fresh = tmp_path / "view.db", tmp_path / "fresh.db"
    view_of(shop, url)
    with shop.client() as client:
        run_carts(client, "truncated", 2)
        for it in ("truncated-0", "truncated-1", "truncated-stop", "truncated-delete"):
            wait_until(f"the row of {it} follows the log", lambda it=it: row_is_there(client, it), 30)
        admin = AdminClient(shop.settings.admin())
        topic, places = shop.topics.wf_events, []
        for partition in range(PARTITIONS):
            end = client.reader.end(topic, partition)
            with open_view(str(url)).read() as connection:
                columns = tables.partitions.c
                of_it = select(columns.log_offset).where(columns.partition == partition)
                read = connection.execute(of_it).scalar() or 0
            assert end > read + 2, "the view is to lack some of the log"
            places.append(TopicPartition(topic, partition, end - 2))
        for deleted in admin.delete_records(places).values():
            deleted.result(30)
    done = view_of(shop, url)
    assert "building_anew" in done.stderr
    view_of(shop, fresh)
    beside = ("partitions", "source")
    assert contents(open_view(str(url)), without=beside) == contents(open_view(str(fresh)), without=beside)
    with shop.client() as client, open_view(str(url)).read() as connection:
        columns = tables.wf_runs.c
        there = dict(connection.execute(select(columns.wf_run_id, columns.status)).all())
        for name in ("first-0", "truncated-0", "truncated-1", "truncated-stop"):
            run = client.get(name)
            assert run is not None
            assert there[name] == run.status.value
        run_carts(client, "afterwards", 1)
    view_of(shop, url)
    with open_view(str(url)).read() as connection:
        found = connection.execute(select(tables.wf_runs.c.wf_run_id)).scalars().all()
    assert {"afterwards-0", "truncated-0"} <= set(found)
