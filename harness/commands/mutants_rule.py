"""`mutants --rule`: mutants and equivalent variants judged by other projects' rules, and by this suite."""

from __future__ import annotations

import argparse
import contextlib

from attention_harness.commands import console


def run(options: argparse.Namespace) -> int:
    """Print what each rule kills, and which equivalent variants it accuses; 0 where this suite does not err."""
    from attention_harness.commands import run_setup
    from attention_harness.model.errors import HarnessError
    from attention_harness.model.mutation_results import OURS, ByRule, Killed, rule_totals
    from attention_harness.mutation import rivals
    from attention_harness.mutation.campaign import select
    from attention_harness.mutation.patched import source_of_eager
    from attention_harness.mutation.rules import RULES
    from attention_harness.report.content import mutation
    from attention_harness.store import now
    from attention_harness.store.encoding import document

    rules = list(dict.fromkeys(options.rule))
    if unknown := [name for name in rules if name not in RULES]:
        raise HarnessError(f"no rule {unknown[0]!r}; known: {', '.join(RULES)}")
    if options.case or options.generalise or options.tier != "default":
        raise HarnessError("--rule brings its own inputs: it takes no case and no tier")
    mutants, variants = select(options.names)
    patched = rivals.reaching([*mutants, *variants])
    writer, found = None, []
    if run_setup.wants_directory(options):
        plan = run_setup.digest_of([rules, *patched, source_of_eager()])
        writer, _ = run_setup.begin(options, run_setup.run_facts(tier="other projects' rules", plan=plan))
        found = list(writer.items(ByRule))
        if options.resume:
            console.line(f"resume: {len(found)} results are there")
    with writer or contextlib.nullcontext(), console.progress("mutants by rule") as show:
        for one in rivals.compare(rules, patched, jobs=options.jobs, memory=options.memory, done=tuple(found)):
            found.append(one)
            if writer:
                writer.add(one)
            show("judged", len(found), len(patched) * (len(rules) + 1))
        if writer and not writer.facts.finished:
            writer.update(finished=now())
    totals = rule_totals(found)
    cites = {name: RULES[name].cites for name in rules}
    killed, accused = totals.get(OURS, (Killed(0, 0), Killed(0, 0)))
    if options.json:
        print(document({"totals": totals, "found": found, "cites": cites}))
    else:
        print("\n".join(mutation.rule_lines(totals, cites)))
    return 0 if killed.killed == killed.of and not accused.killed else 1
