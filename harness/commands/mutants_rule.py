"""`mutants --rule`: mutants and equivalent variants judged by other projects' rules, and by this suite."""

from __future__ import annotations

import argparse

from attention_harness.commands import console


def run(options: argparse.Namespace) -> int:
    """Print what each rule kills, and which equivalent variants it accuses; 0 where this suite does not err."""
    from attention_harness.model.errors import HarnessError
    from attention_harness.mutation import rivals
    from attention_harness.mutation.campaign import select
    from attention_harness.mutation.rules import RULES
    from attention_harness.report import mutation
    from attention_harness.store.encoding import document

    rules = list(dict.fromkeys(options.rule))
    if unknown := [name for name in rules if name not in RULES]:
        raise HarnessError(f"no rule {unknown[0]!r}; known: {', '.join(RULES)}")
    if options.case or options.out or options.resume or options.generalise or options.tier != "default":
        raise HarnessError("--rule brings its own inputs: give it with names, --jobs, --memory and --json alone")
    mutants, variants = select(options.names)
    patched = rivals.reaching([*mutants, *variants])
    found = []
    with console.progress("mutants by rule") as show:
        for one in rivals.compare(rules, patched, jobs=options.jobs, memory=options.memory):
            found.append(one)
            show("judged", len(found), len(patched) * (len(rules) + 1))
    totals = rivals.totals(found, rules)
    cites = {name: RULES[name].cites for name in rules}
    killed, accused = totals[rivals.OURS]
    if options.json:
        print(document({"totals": totals, "found": found, "cites": cites}))
    else:
        print("\n".join(mutation.rule_lines(totals, cites)))
    return 0 if killed.killed == killed.of and not accused.killed else 1
