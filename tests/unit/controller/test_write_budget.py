"""How much the bound on writing calls remembers."""

from __future__ import annotations

from reconvirt.controller.write_budget import WriteBudget


def test_virtual_servers_that_are_long_gone_are_forgotten() -> None:
    """Those that were written to within the window are not."""
    now = [0.0]
    budget = WriteBudget(most=1, window=600.0, clock=lambda: now[0])
    for number in range(10_000):
        now[0] = number * 10.0
        assert "" == budget.spend(f"uuid-{number}", "generation", "define", 0)

    assert len(budget._accounts) < 300
    assert budget.spend("uuid-9999", "generation", "define", 0)
    assert budget.spend("uuid-9950", "generation", "define", 0)
