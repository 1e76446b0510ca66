"""What comes from a host is taken in whole, or the folder stays as it was."""

import io
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from runner.spread.order import Description, Order, differences, source_hash
from runner.spread.parcel import Unfit, take_in
from runner.spread.running import _blocks
from runner.stacks.app import load_app
from tests.spread.clusters import block_parcel
from tests.spread.test_coordinator import Spreading
from tests.synthetic import OTHER_HOST


@pytest.fixture
def spreading(tmp_path: Path) -> Spreading:
    return Spreading(tmp_path / "out", 3)


def order_of(spreading: Spreading, block: int) -> Order:
    return spreading.order.model_copy(update={"block": block})


def test_an_orders_plan_is_the_block_of_the_runs(spreading: Spreading) -> None:
    groups = [group for block in (1, 2, 3) for group in order_of(spreading, block).plan().groups]
    assert tuple(groups) == spreading.plan.groups


def test_what_came_is_what_was_measured(spreading: Spreading, tmp_path: Path) -> None:
    block = _blocks(spreading.plan, spreading.order)[1]
    arrival = take_in(block_parcel(tmp_path / "made", block.order, "far"), spreading.folder, 2, block.planned)
    assert arrival.hosts == {"far"}
    assert {number for _, number, _ in spreading.found()} == {2}
    for made in (tmp_path / "made").glob("cells/*/b2-a1/*"):
        there = spreading.folder.path / made.relative_to(tmp_path / "made")
        assert made.is_dir() or there.read_bytes() == made.read_bytes()


@pytest.mark.parametrize("wrong", ["another block", "less", "cut off", "no tar"])
def test_what_is_not_the_block_is_refused(wrong: str, spreading: Spreading, tmp_path: Path) -> None:
    first, second, _ = _blocks(spreading.plan, spreading.order)
    parcel = block_parcel(tmp_path / "made", second.order, "far")
    if wrong == "less":
        parcel = without(parcel, f"cells/{next(iter(second.planned))}")
    elif wrong == "cut off":
        parcel = without(parcel, "end.json")
    elif wrong == "no tar":
        parcel = b"what is this" * 100
    block = first if wrong == "another block" else second
    with pytest.raises(Unfit):
        take_in(parcel, spreading.folder, block.order.block, block.planned)
    assert spreading.found() == []
    assert not list(spreading.folder.path.glob(".arrived*"))


def test_nothing_leads_out_of_the_folder(spreading: Spreading) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("../../evil"))
    with pytest.raises(Unfit, match="cannot be unpacked"):
        take_in(buffer.getvalue(), spreading.folder, 1, {})
    assert not (spreading.folder.path.parent / "evil").exists()


def test_hosts_are_held_against_each_other(spreading: Spreading) -> None:
    record = spreading.folder.run()
    one = Description(host=record.host, versions={"a": "1"}, source="x")
    twin = one.model_copy(update={"host": record.host.model_copy(update={"fingerprint": "else"})})
    assert differences(one, twin) == []
    assert differences(one, one.model_copy(update={"source": "y"})) == ["connbench's or the app's code"]
    other = Description(host=OTHER_HOST, versions={"a": "1", "b": "2"}, source="x")
    assert any(line.startswith("cpu (") for line in differences(one, other))
    assert "version of b (None and 2)" in differences(one, other)


def without(parcel: bytes, name: str) -> bytes:
    """The parcel less what is under a name."""
    left = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(parcel)) as source, tarfile.open(fileobj=left, mode="w") as target:
        for member in source:
            if not member.name.startswith(name):
                target.addfile(member, source.extractfile(member) if member.isfile() else None)
    return left.getvalue()


def test_other_code_is_another_source(tmp_path: Path) -> None:
    shop = load_app("shop")
    project = Path(shutil.copytree(shop.folder, tmp_path / "here" / "shop"))
    copied = replace(shop, folder=project)
    assert source_hash(copied) == source_hash(shop), "wherever it is"
    (project / "manage.py").write_text("changed\n")
    assert source_hash(copied) != source_hash(shop)
