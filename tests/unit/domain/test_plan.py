"""What is planned in which situation, for shut off and for running virtual servers."""

from __future__ import annotations

from dataclasses import replace

from lxml import etree

from reconvirt.domain.actions import (
    AddIothread,
    Attach,
    DeleteIothread,
    SetLifecycleAction,
    SetParameter,
    SetVcpus,
    Shutdown,
    Start,
)
from reconvirt.domain.effects import Effect
from reconvirt.domain.joint_places import IothreadCount
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.xmltree import parse_xml
from strategies import NAME
from virtual_servers import actions, disk, plan, running, shut_off, spec, waits


class TestState:
    def test_a_new_one_is_defined_and_started(self) -> None:
        """A virtual server that is not there is made first."""
        made = plan(spec(), None)

        assert ["define", "start"] == [step.action.verb for step in made.steps]

    def test_a_new_one_can_stay_off(self) -> None:
        """Nothing is started that shall be shut off."""
        made = plan(spec(state="shutoff"), None)

        assert ["define"] == [step.action.verb for step in made.steps]

    def test_one_that_is_off_is_started(self) -> None:
        """One that shall run is started, and nothing else."""
        assert [Start()] == actions(plan(spec(), shut_off(spec())))

    def test_one_that_runs_is_asked_to_shut_down(self) -> None:
        """The guest must answer; nothing is destroyed."""
        made = plan(spec(state="shutoff"), running(spec()))

        assert [Shutdown()] == actions(made)
        assert made.steps[-1].asks

    def test_nothing_is_plugged_into_one_that_shall_go_off(self) -> None:
        """Only the configuration follows."""
        made = plan(spec(state="shutoff", cputune={"shares": 5}), running(spec()))

        assert ["define", "shutdown"] == [step.action.verb for step in made.steps]

    def test_one_that_has_crashed_is_left_to_people(self) -> None:
        """It is said, with what to do, and nothing is done."""
        seen = running(spec())
        seen = Observed(NAME, seen.uuid, 1, State.CRASHED, "", seen.config, seen.live)

        made = plan(spec(), seen)

        assert [] == actions(made)
        assert ["state"] == [change.field for change in made.refused]

    def test_as_wanted_is_an_empty_plan(self) -> None:
        """Nothing to do is nothing at all."""
        assert plan(spec(), running(spec())).empty


class TestVcpus:
    def test_more_are_hotplugged(self) -> None:
        """Up to the running maximum it is done at once, in the configuration and live."""
        made = plan(spec(vcpu={"maximum": 4, "current": 3}), running(spec()))

        assert [SetVcpus(3)] == actions(made)
        assert {} == waits(made)

    def test_fewer_wait_on_s390x(self) -> None:
        """s390x has no unplug of vCPUs."""
        made = plan(spec(vcpu={"maximum": 4, "current": 1}), running(spec()))

        assert [] == actions(made)
        assert {"vcpu.current": "s390x cannot unplug vCPUs from a running virtual server"} == waits(
            made
        )

    def test_fewer_are_asked_for_elsewhere(self) -> None:
        """On x86 the guest releases them."""
        pc = {"os": {"arch": "x86_64", "machine": "q35"}}

        made = plan(spec(**pc, vcpu={"maximum": 4, "current": 1}), running(spec(**pc)))

        assert [SetVcpus(1)] == actions(made)
        assert Effect.GUEST is made.steps[-1].changes[0].effect

    def test_more_than_the_running_maximum_wait(self) -> None:
        """Maximum and current both wait, and say why."""
        made = plan(spec(vcpu=8), running(spec()))

        assert [] == actions(made)
        assert ["vcpu.maximum", "vcpu.current"] == list(waits(made))

    def test_a_hindrance_makes_it_wait(self) -> None:
        """What libvirt refused to do live is not tried again and again."""
        made = plan(
            spec(vcpu={"maximum": 4, "current": 3}),
            running(spec()),
            **{"vcpu.current": "libvirt says no"},
        )

        assert [] == actions(made)
        assert {"vcpu.current": "libvirt says no"} == waits(made)


class TestTuning:
    def test_shares_are_live(self) -> None:
        """A new CPU weight is set at once."""
        made = plan(spec(cputune={"shares": 512}), running(spec(cputune={"shares": 2048})))

        assert [SetParameter("scheduler", "cpu_shares", 512)] == actions(made)

    def test_only_the_live_weight_drifted(self) -> None:
        """Nothing is defined when only what runs is different."""
        stated = spec(cputune={"shares": 512})

        made = plan(stated, running(stated, **{"cputune/shares": "77"}))

        assert ["set-parameter"] == [step.action.verb for step in made.steps]

    def test_a_reaction_is_live(self) -> None:
        """Lifecycle actions can be changed while it runs."""
        made = plan(spec(on_crash="preserve"), running(spec(on_crash="destroy")))

        assert [SetLifecycleAction("crash", "preserve")] == actions(made)

    def test_memory_waits_and_says_so(self) -> None:
        """Old and new are told as a person writes them."""
        made = plan(spec(memory="2 GiB"), running(spec()))

        change = made.waiting[0]
        assert ("memory.size", "1 GiB", "2 GiB") == (change.field, change.old, change.new)

    def test_live_memory_is_rounded_up(self) -> None:
        """libvirt rounds the memory of what runs to whole MiB; that is no difference."""
        made = plan(spec(memory="131073 KiB"), running(spec(memory="131073 KiB"), memory="132096"))

        assert made.empty


class TestIothreads:
    def test_one_is_added_before_the_disk_that_uses_it(self) -> None:
        """Steps come in an order that works."""
        after = spec(
            iothreads=1, devices={"disks": [disk("a", driver={"type": "raw", "iothread": 1})]}
        )

        made = plan(after, running(spec()))

        assert [AddIothread, Attach] == [type(each) for each in actions(made)]

    def test_an_idle_one_is_deleted(self) -> None:
        """The highest one that nothing uses goes."""
        before = spec(
            iothreads=2, devices={"disks": [disk("a", driver={"type": "raw", "iothread": 1})]}
        )

        made = plan({**before, "iothreads": 1}, running(before))

        assert [DeleteIothread(2)] == actions(made)

    def test_those_that_were_busy_go_later(self) -> None:
        """No longer stated, and one of two is deleted already: the other one goes as well."""
        seen = running(spec(), spec(iothreads=2))
        root = parse_xml(seen.live or "")
        IothreadCount().put(root, "1")
        live = etree.tostring(root, encoding="unicode")

        made = plan(spec(), replace(seen, live=live))

        assert [DeleteIothread(1)] == actions(made)
