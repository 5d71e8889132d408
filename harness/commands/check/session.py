"""`check` from a plan to its exit status: run, keep, diagnose, print."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Sequence
from typing import Any

from attention_harness import registry
from attention_harness.commands import console
from attention_harness.commands.check.cases import plan
from attention_harness.commands.check.error_maps import error_maps
from attention_harness.commands.check.summary import behaviours, conforms, summary
from attention_harness.commands.run_setup import writer_of
from attention_harness.execution import fuzz, pool
from attention_harness.execution.limits import ITEM_SECONDS, Limits
from attention_harness.execution.plan import Item, unexercised, unexercised_verdicts
from attention_harness.execution.runner import Costs, PoolRunner, sentence
from attention_harness.model.diagnosis import Diagnosis
from attention_harness.model.errors import HarnessError
from attention_harness.model.run_facts import Smallest, TimeAccount
from attention_harness.model.shared_facts import shared_facts
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Verdict
from attention_harness.mutation.diagnosis import diagnose_run
from attention_harness.store import Writer, now
from attention_harness.store.encoding import document
from attention_harness.store.layout import DIAGNOSIS, ERROR_MAPS
from attention_harness.store.reading import read


def check(options: argparse.Namespace) -> int:
    """Run the plan of the arguments; 0 when something was checked and all of it conforms."""
    costs = Costs(options.jobs or pool.default_jobs())
    chosen, items, drawn = plan(options)
    not_asked = [] if _narrowed(options) else list(unexercised_verdicts(items))
    writer, earlier = writer_of(options, chosen, items, not_asked=len(not_asked))
    with writer or contextlib.nullcontext():
        return Session(options, items, writer, earlier, drawn, not_asked, costs).run()


def _narrowed(options: argparse.Namespace) -> bool:
    """Return whether the user chose less than the whole of what is declared."""
    return bool(options.case or options.mechanism or options.fuzz or options.sample) or options.tier == "quick"


class Session:
    """One run of `check`. verdicts: those that a resumed run had, then those that are reached."""

    def __init__(
        self,
        options: argparse.Namespace,
        items: Sequence[Item],
        writer: Writer | None,
        earlier: Sequence[Verdict],
        drawn: fuzz.DrawnCases | None = None,
        not_asked: Sequence[Verdict] = (),
        costs: Costs | None = None,
    ) -> None:
        self.costs = costs or Costs(options.jobs or pool.default_jobs())
        self.options, self.items, self.writer, self.drawn = options, items, writer, drawn
        self.limits = Limits(options.timeout or ITEM_SECONDS, options.memory)
        self.not_asked = not_asked
        planned = {key for item in items for key in item.keys} | {verdict.key for verdict in not_asked}
        for verdict in earlier:
            if verdict.key not in planned:
                raise HarnessError(
                    f"{options.out}/verdicts.jsonl: {verdict.check} of {verdict.implementation} on {verdict.case} is "
                    "not in the plan of this run; remove the line"
                )
        self.verdicts = {verdict.key: verdict for verdict in earlier}
        self.planned = len(planned)

    def run(self) -> int:
        """Check what is open, look for what caused the failures, and print."""
        whole = len(self.verdicts) == self.planned  # then what was made of the same verdicts before stands
        if self.writer and not whole and self.writer.facts.finished:
            self.writer.update(finished=None)
        self._check()
        smallest = self._smallest(self.drawn, whole) if self.drawn else []
        self._print_shared()
        causes = [] if self.options.no_diagnosis else self._causes(whole)
        if self.writer and not whole:
            self._map_errors(self.writer)
        account = self.costs.summary() if self.costs.checks else None
        if self.writer and not self.writer.facts.finished:
            self.writer.update(finished=now(), time=account or self.writer.facts.time)
        if self.options.json:
            self._print_document(account, causes, smallest)
        else:
            self._print_summary(account)
        return 0 if conforms(self.verdicts.values()) and len(self.verdicts) == self.planned else 1

    def _check(self) -> None:
        """Run the checks that have no verdict yet."""
        costs, failures = self.costs, console.Failures()
        failing: set[str] = set()
        with console.progress("check") as show:
            runner = PoolRunner(costs.jobs, self.options.load, self.limits, costs)
            self._add([verdict for verdict in self.not_asked if verdict.key not in self.verdicts])
            for item, reached in runner.run(self.items, frozenset(self.verdicts)):
                self._add(reached)
                costs.checks += sum(verdict.status not in NOT_CHECKED for verdict in reached)
                show(item.implementation.name, len(self.verdicts), self.planned)
                for verdict in reached:
                    if verdict.status in NONCONFORMING:
                        failures.show(verdict)
                        failing.add(verdict.case)
                if (most := self.options.max_failures) and len(failing) >= most:
                    runner.stopped = f"--max-failures {most}: so many cases have failed"
        costs.checked = time.perf_counter()

    def _add(self, verdicts: Sequence[Verdict]) -> None:
        """Keep verdicts."""
        self.verdicts |= {verdict.key: verdict for verdict in verdicts}
        if self.writer:
            self.writer.add(*verdicts)

    def _causes(self, whole: bool) -> list[Diagnosis]:
        """Return, print and keep what may have caused the failures of each implementation.

        whole: nothing was checked since the directory was written, so that what it says of a cause still holds.
        """
        path = self.writer.directory / DIAGNOSIS if self.writer else None
        found: list[Diagnosis] = list(read(path, ())) if whole and path else []
        if path and not found:
            path.unlink(missing_ok=True)
        for cause in found:
            console.cause(cause)
        known = {cause.implementation for cause in found}
        # In the order of the plan: they came as workers finished, which must not decide a diagnosis.
        ordered = (self.verdicts[key] for item in self.items for key in item.keys if key in self.verdicts)
        failures = [one for one in ordered if one.status in NONCONFORMING and one.implementation not in known]
        further = dict.fromkeys(item.case for item in self.items)
        for cause in diagnose_run(failures, self.options.load, further, self.options.memory):
            console.cause(cause)
            found.append(cause)
            if self.writer:
                self.writer.write(DIAGNOSIS, found)
        return found

    def _map_errors(self, writer: Writer) -> None:
        """Keep where the errors of the worst failing cases lie."""
        ordered = [self.verdicts[key] for item in self.items for key in item.keys if key in self.verdicts]
        found = list(error_maps(ordered, self.items, self.options.load, self.limits))
        if found:
            writer.write(ERROR_MAPS, found)

    def _smallest(self, drawn: fuzz.DrawnCases, whole: bool) -> list[Smallest]:
        """Return, print and keep the smallest cases that the failures of a fuzz shrink to."""
        found = list(self.writer.facts.smallest or ()) if self.writer and whole else []
        for smallest in found:
            self._print_smallest(smallest)
        groups = fuzz.failure_groups(self.verdicts.values())
        implementations = list({item.implementation.name: item.implementation for item in self.items}.values())
        load = self.options.load
        for smallest in fuzz.shrink(drawn, groups, implementations, load, tuple(found), self.limits):
            self._print_smallest(smallest)
            found.append(smallest)
            if self.writer:
                self.writer.update(smallest=tuple(found))
        if self.writer and not found:
            self.writer.update(smallest=())
        return found

    def _print_smallest(self, smallest: Smallest) -> None:
        console.line(f"smallest of {smallest.failures} such failures:")
        console.failure(smallest.verdict)

    def _print_shared(self) -> None:
        """Print what the failing cases of each implementation share."""
        for facts in shared_facts(self.verdicts.values()):
            console.shared(facts)

    def _print_document(
        self, account: TimeAccount | None, causes: Sequence[Diagnosis], smallest: Sequence[Smallest]
    ) -> None:
        verdicts = list(self.verdicts.values())
        answer: dict[str, Any] = {"planned": self.planned, "time": account, "verdicts": verdicts}
        answer |= {"shared_facts": shared_facts(verdicts), "diagnosis": causes}
        if self.options.fuzz:
            answer["fuzz"] = {"seed": self.options.seed or 0, "cases": self.options.fuzz, "smallest": smallest}
        print(document(answer))

    def _print_summary(self, account: TimeAccount | None) -> None:
        verdicts = list(self.verdicts.values())
        if table := behaviours(verdicts):
            print(table)
        if account:
            print(sentence(account))
        print(summary(verdicts, self.planned, dict.fromkeys(item.implementation.name for item in self.items)))
        for name, declared in unexercised(self.items).items() if _narrowed(self.options) else ():
            named = [one for one in declared if not self.options.mechanism or one not in registry.mechanisms()]
            if named and not self.options.case:
                print(f"{name}: not asked in this narrowed run, though declared: {', '.join(named)}")
        if count := self.options.sample:
            tier, seed = self.options.tier, self.options.seed or 0
            print(f"sample: {count} cases of each implementation, of all of the tier {tier}, drawn from seed {seed}")
        if count := self.options.fuzz:
            seed = self.options.seed or 0
            print(f"fuzz: {count} cases of seed {seed}; the same and as many more: --seed {seed} --fuzz {2 * count}")
        if self.writer:
            print(f"run directory: {self.options.out}")
