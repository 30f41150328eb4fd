"""From files to the snapshot in force."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconvirt.manifest.identity import derive_uuid
from reconvirt.manifest.load import Loader, assemble, load_file, revision_of
from reconvirt.manifest.model import FileResult, Manifest, Snapshot, SourceFile
from strategies import specs

GOOD: dict[str, Any] = {
    "memory": "1 GiB",
    "vcpu": 2,
    "os": {"arch": "s390x", "machine": "s390-ccw-virtio"},
}


def text(name: str = "web1", uuid: str | None = None, **spec: Any) -> str:
    """A manifest's YAML."""
    metadata = {"name": name} | ({"uuid": uuid} if uuid else {})
    document = {
        "apiVersion": "reconvirt/v1",
        "kind": "VirtualServer",
        "metadata": metadata,
        "spec": GOOD | spec,
    }
    return yaml.safe_dump(document, sort_keys=False)


def load(content: str | bytes, path: str = "f.yaml") -> FileResult:
    """What a file says."""
    return load_file(SourceFile(path, content if isinstance(content, bytes) else content.encode()))


def problems(**spec: Any) -> list[str]:
    """What is wrong with a manifest."""
    return [str(each).partition(": ")[2] for each in load(text(**spec)).problems]


def snapshot(previous: Snapshot | None = None, **files: str | None) -> Snapshot:
    """The snapshot of these files; None is a file that cannot be read."""
    results = [
        load_file(SourceFile(path, None, "it cannot be read: why not"))
        if content is None
        else load(content, path)
        for path, content in files.items()
    ]
    return assemble(results, "r", previous)


def disk(dev: str = "vda", **more: Any) -> dict[str, Any]:
    """A disk of a manifest."""
    return {
        "type": "file",
        "driver": {"type": "raw"},
        "source": {"file": "/i"},
        "target": {"dev": dev},
    } | more


def nic(**more: Any) -> dict[str, Any]:
    """An interface of a manifest."""
    return {"type": "bridge", "source": {"bridge": "br0"}} | more


class TestSchema:
    def test_a_good_one(self) -> None:
        """It has no problem, a place, and a digest that does not hang on its spelling."""
        (one,) = load(text()).manifests
        (other,) = load("# comment\n" + text().replace("web1", "'web1'")).manifests

        assert ("web1", "f.yaml:1:1") == (one.name, str(one.position))
        assert one.digest == other.digest

    @pytest.mark.parametrize(
        ("spec", "problem"),
        [
            (
                {"memroy": "1 GiB"},
                "spec.memroy: there is no such key; did you mean memory?; allowed: ",
            ),
            ({"memory": 4}, "spec.memory: expected a text or a mapping, found 4"),
            ({"memory": "4 XiB"}, 'spec.memory: "4 XiB" does not fit; allowed: such as 4 GiB,'),
            ({"cputune": {"shares": 1}}, "spec.cputune.shares: 1 is out of range; allowed: 2 to"),
            ({"cputune": {"shares": 262145}}, "spec.cputune.shares: 262145 is out of range"),
            ({"cputune": {"shares": "2"}}, "spec.cputune.shares: expected a whole number"),
            ({"cputune": {"shares": True}}, "spec.cputune.shares: expected a whole number"),
            ({"vcpu": 0}, "spec.vcpu: 0 is out of range; allowed: 1 to 4096"),
            ({"vcpu": 2.0}, "spec.vcpu: expected a whole number or a mapping, found 2.0"),
            ({"vcpu": "2"}, 'spec.vcpu: expected a whole number or a mapping, found "2"'),
            ({"vcpu": {"current": 1}}, "spec.vcpu: maximum must be stated"),
            ({"vcpu": {"maximum": 2, "curent": 1}}, "spec.vcpu.curent: there is no such key; did"),
            (
                {"state": "stopped"},
                'spec.state: "stopped" is not known; allowed: running, paused, ',
            ),
            ({"os": None}, "spec.os: expected a mapping, found null"),
            ({"os": {"arch": "s390x"}}, "spec.os: machine must be stated"),
            ({"os": GOOD["os"] | {"kernel": "rel/path"}}, "spec.os.kernel: "),
            ({"os": GOOD["os"] | {"kernel": "/k\n"}}, "spec.os.kernel: "),
            ({"os": GOOD["os"] | {"kernel": "/k", "cmdline": ""}}, "spec.os.cmdline: it is empty"),
            ({"iothreads": -1}, "spec.iothreads: -1 is out of range; allowed: 0 to 1024"),
            ({"devices": {"disks": {}}}, "spec.devices.disks: expected a list, found a mapping"),
            (
                {"devices": {"disks": [disk() | {"driver": {}}]}},
                "spec.devices.disks[0].driver: type must be stated",
            ),
            (
                {"devices": {"disks": [disk() | {"driver": {"type": "vmdk"}}]}},
                'spec.devices.disks[0].driver.type: "vmdk" is not known; allowed: raw, qcow2',
            ),
            (
                {"devices": {"disks": [disk() | {"address": {"slot": 3}}]}},
                "spec.devices.disks[0].address: type must be stated",
            ),
            (
                {"devices": {"interfaces": [nic(mac={"address": "01:00:00:00:00:00"})]}},
                'spec.devices.interfaces[0].mac.address: "01:00:00:00:00:00" does not fit',
            ),
        ],
    )
    def test_a_bad_one(self, spec: dict[str, Any], problem: str) -> None:
        """One problem, with the field, what is wrong, and what is allowed."""
        (found,) = problems(**spec)

        assert found.startswith(problem)

    @pytest.mark.parametrize(
        "name", ["a b", "web-1", "ä", "x" * 200, "0", "a.b", "...", "-x", "a'b\"c<&>"]
    )
    def test_names_that_libvirt_takes(self, name: str) -> None:
        """As long as they are no path and no line break."""
        (manifest,) = load(text(name)).manifests

        assert name == manifest.name

    @pytest.mark.parametrize(
        "name", ["", ".", "..", "a/b", "a\nb", "a\n", " a", "a ", "x" * 201, "a\x7fb"]
    )
    def test_names_that_libvirt_does_not_take(self, name: str) -> None:
        """Or that would be trouble elsewhere."""
        (problem,) = load(text(name)).problems

        assert "metadata.name" == problem.field or "U+007F" in problem.message

    def test_several_problems_are_told_at_once(self) -> None:
        """Each with its own line."""
        content = text(memory=3, state="off", iothreads=-1)

        lines = [each.position.line for each in load(content).problems]

        assert 3 == len(set(lines))


class TestChecks:
    @pytest.mark.parametrize(
        ("spec", "problem"),
        [
            ({"memory": "0 GiB"}, "spec.memory: 0 GiB is out of range; allowed: 1 KiB to 8 EiB"),
            ({"memory": "9 EiB"}, "spec.memory: 9 EiB is out of range"),
            (
                {"vcpu": {"maximum": 2, "current": 3}},
                "spec.vcpu.current: 3 is more than spec.vcpu.maximum (2); allowed: 1 to 2",
            ),
            (
                {"os": GOOD["os"] | {"initrd": "/i"}},
                "spec.os.initrd: it needs spec.os.kernel beside it",
            ),
            (
                {"devices": {"disks": [disk(), disk()]}},
                "spec.devices.disks[1].target.dev: vda stands at spec.devices.disks[0].target.dev",
            ),
            (
                {"devices": {"disks": [disk(boot={"order": 1}), disk("vdb", boot={"order": 1})]}},
                "spec.devices.disks[1].boot.order: 1 stands at",
            ),
            (
                {"devices": {"disks": [disk(type="block")]}},
                "spec.devices.disks[0].source.file: a disk of the type block has source.dev",
            ),
            (
                {"devices": {"disks": [disk(source={})]}},
                "spec.devices.disks[0]: a disk of the type file needs source.file",
            ),
            (
                {"devices": {"disks": [disk(driver={"type": "raw", "iothread": 1})]}},
                "spec.devices.disks[0].driver.iothread: there is no I/O thread 1: spec.iothreads",
            ),
            (
                {"devices": {"interfaces": [nic(), nic()]}},
                "spec.devices.interfaces[0]: of several interfaces each needs mac.address",
            ),
            (
                {
                    "devices": {
                        "interfaces": [
                            nic(mac={"address": "52:54:00:00:00:aa"}),
                            nic(mac={"address": "52:54:00:00:00:AA"}),
                        ]
                    }
                },
                "spec.devices.interfaces[1].mac.address: 52:54:00:00:00:aa stands at",
            ),
            (
                {
                    "devices": {
                        "disks": [disk(address={"type": "ccw", "devno": 1})],
                        "interfaces": [nic(address={"type": "ccw", "cssid": 254, "devno": 1})],
                    }
                },
                "spec.devices.interfaces[0].address.devno: fe.0.0001 stands at",
            ),
        ],
    )
    def test_what_does_not_fit_together(self, spec: dict[str, Any], problem: str) -> None:
        """The problem stands at the later of two, and names the other."""
        found = problems(**spec)

        assert found[0].startswith(problem)

    @given(specs(hotplug=True))
    def test_what_the_property_tests_use_is_good(self, spec: dict[str, Any]) -> None:
        """So that they speak of manifests that can be."""
        document = yaml.safe_load(text()) | {"spec": spec}

        # JSON is YAML, and says what is a text.
        assert () == load(json.dumps(document)).problems


class TestSnapshot:
    def test_a_bad_document_stops_no_other(self) -> None:
        """Neither in its file nor elsewhere."""
        both = f"{text('a')}---\n{text('b', state='no')}---\n{text('c')}"

        made = snapshot(one=both, two="not: [yaml", three=text("d"))

        assert ["a", "c", "d"] == list(made.manifests)
        assert ["one", "two"] == [each.position.file for each in made.problems]

    def test_two_of_one_name_hold_each_other_up(self) -> None:
        """Neither is in force, and each is told of the other."""
        made = snapshot(one=text("a"), two=text("a"), three=text("b"))

        assert ["b"] == list(made.manifests)
        assert ["one:1:1", "two:1:1"] == [str(each.position) for each in made.problems]
        assert "two:1:1" in made.problems[0].message

    def test_two_of_one_uuid_hold_each_other_up(self) -> None:
        """However they are spelled."""
        uuid = "8f1c6a0e-5d0b-4c36-9d0e-6b0f6c1f2a11"

        made = snapshot(one=text("a", uuid), two=text("b", uuid.upper()))

        assert [] == list(made.manifests)

    def test_what_was_good_stays_in_force(self) -> None:
        """While its file is broken, cannot be read, or its name is taken twice."""
        before = snapshot(one=text("a"), two=text("b"), three=text("c"), four=text("d"))

        now = snapshot(before, one=text("a", state="no"), two=None, three=text("c"), five=text("c"))

        assert ["a", "b", "c"] == list(now.manifests)
        assert {"a", "b", "c"} == now.retained
        assert before.manifests["a"] == now.manifests["a"]

    def test_what_stayed_goes_when_the_file_is_good_again_without_it(self) -> None:
        """It is not kept for ever."""
        before = snapshot(one=text("a"))
        broken = snapshot(before, one="a: [")

        now = snapshot(broken, one=text("b"))

        assert (["a"], ["b"]) == (list(broken.manifests), list(now.manifests))

    @pytest.mark.parametrize("content", [b"", b"\n", b"# nothing\n", b"---\n", b"null\n", b"~"])
    def test_a_file_without_a_document_removes_nothing(self, content: bytes) -> None:
        """It was emptied by accident, or is not written yet: that is told at its beginning."""
        before = snapshot(one=text("a"), two=text("b"))

        now = assemble([load(content, "one"), load(text("b"), "two")], "r", before)

        assert (["a", "b"], {"a"}) == (list(now.manifests), now.retained)
        assert [("one:1:1", "")] == [(str(each.position), each.field) for each in now.problems]
        assert "has no document" in now.problems[0].message
        assert not now.complete

    def test_a_document_may_be_taken_out_of_a_file(self) -> None:
        """That is a removal, as long as there is another one."""
        before = snapshot(one=f"{text('a')}---\n{text('b')}")

        now = snapshot(before, one=f"{text('a')}---\n")

        assert (["a"], True) == (list(now.manifests), now.complete)

    @pytest.mark.parametrize("spelled", [str.lower, str.upper])
    def test_a_uuid_that_is_derived_from_another_name(self, spelled: Callable[[str], str]) -> None:
        """Both places are told, and neither is in force."""
        made = snapshot(one=text("a"), two=text("b", spelled(derive_uuid("a"))))

        assert [] == list(made.manifests)
        assert ["one:1:1", "two:1:1"] == [str(each.position) for each in made.problems]
        assert ["metadata.uuid"] * 2 == [each.field for each in made.problems]
        assert "(derived from the name) stands also at two:1:1" in made.problems[0].message

    def test_a_newcomer_does_not_get_the_uuid_of_what_stays_in_force(self) -> None:
        """Neither the one nor the other changes."""
        before = snapshot(one=text("a"), two=text("b"))

        now = snapshot(before, one="a: [", two=text("b", derive_uuid("a")))

        assert before.manifests == now.manifests
        assert "two:1:1" in {str(each.position) for each in now.problems}
        assert "'a'" not in now.problems[1].message
        assert "that of a, whose last good version (one:1:1) stays" in now.problems[1].message

    def test_what_is_below_a_directory_that_cannot_be_read_stays_in_force(self) -> None:
        """Its manifests are not gone."""
        before = snapshot(**{"top/a.yaml": text("a"), "topmost.yaml": text("b")})

        now = snapshot(before, top=None)

        assert (["a"], {"a"}) == (list(now.manifests), now.retained)

    def test_a_closed_place_is_a_problem_only_if_manifests_were_in_it(self) -> None:
        """Otherwise it is noted: what may be in it is not gone."""
        closed = load_file(SourceFile("top", None, "it is a link", closed=True))
        before = snapshot(**{"top/a.yaml": text("a")})

        now, fresh = assemble([closed], "r", before), assemble([closed], "r")

        assert (["a"], ()) == (list(now.manifests), now.unseen)
        assert "stay in force" in now.problems[0].message
        assert ((), ("top: it is a link",)) == (fresh.problems, fresh.unseen)

    def test_a_manifest_may_move_to_another_file(self) -> None:
        """It is the same then."""
        before = snapshot(one=text("a"))

        now = snapshot(before, two=text("a"))

        assert before.manifests["a"].digest == now.manifests["a"].digest


class TestLoader:
    def test_unchanged_files_are_read_once(self) -> None:
        """The very result of before is given again."""
        loader = Loader()
        files = [SourceFile("a", text("a").encode()), SourceFile("b", text("b").encode())]
        before = loader.load(files)
        changed = [files[0], SourceFile("b", text("c").encode())]

        after = loader.load(changed)

        assert before[0] is after[0]
        assert "c" == after[1].manifests[0].name

    def test_the_revision_hangs_on_names_and_contents_alone(self) -> None:
        """Not on the order in which the directory lists them."""
        one, two = SourceFile("a", b"1"), SourceFile("b", b"2")

        assert revision_of([one, two]) == revision_of([two, one])
        assert revision_of([one]) != revision_of([two]) != revision_of([SourceFile("b", None)])
        assert revision_of([SourceFile("ab", b"c")]) != revision_of([SourceFile("a", b"bc")])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
KEYS = ["memory", "vcpu", "os", "devices", "cputune", "iothreads", "state", "features", "type"]


@given(st.dictionaries(st.sampled_from(KEYS), VALUES) | VALUES)
def test_whatever_stands_in_a_manifest_is_taken_or_told(spec: Any) -> None:
    """No value, of any type, anywhere, raises."""
    document = {
        "apiVersion": "reconvirt/v1",
        "kind": "VirtualServer",
        "metadata": {"name": "a"},
        "spec": GOOD | spec if isinstance(spec, dict) else spec,
    }

    result = load(yaml.safe_dump(document))

    assert len(result.manifests) + bool(result.problems) == 1
    assert all(isinstance(each, Manifest) for each in result.manifests)
