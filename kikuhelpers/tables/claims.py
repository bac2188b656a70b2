"""The paper's claims, data/claims.yaml, and the one rule that makes verdicts of measures."""

import inspect
from html import escape
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.provenance import git_commit
from kikuhelpers.runs.results import MissingResultError, Results
from kikuhelpers.study import PROJECT_ROOT, roles
from kikuhelpers.study.layout import CLAIM_GROUPS
from kikuhelpers.study.load import one_sentence
from kikuhelpers.study.values import Name, Settings
from kikuhelpers.tables.claim_measures import decoded, latents, patterns, tables
from kikuhelpers.tables.evidence import Evidence, Found, Untestable
from kikuhelpers.tables.table1 import title_of

LEDGER = PROJECT_ROOT / "data" / "claims.yaml"
HOLDS, IN_PART, FAILS, UNTESTED = "holds", "holds in part", "does not hold", "cannot be tested here"
_MODULES = (tables, decoded, latents, patterns)
MEASURES = {n: f for m in _MODULES for n, f in vars(m).items() if inspect.getmodule(f) is m}
_COLUMNS = "claim group says verdict because evidence value low high unit judged side threshold"
_COLUMNS = f"{_COLUMNS} against baseline lead_low lead_high units place kind changed".split()
_WIDE, _BEATEN = "the interval reaches beyond the threshold", "the baseline does better"
_REACHES = "the interval reaches the threshold"
_RULE = """The rule, thresholds and reasons stand in data/claims.yaml, committed before any measure
was run; what changed later stands below. The burden of proof is the claim's: what is not shown
"does not hold". Intervals hold neither another training nor, of one scan, another specimen. All
that is said of AM is virtual: there are no measured patterns of an AM alloy here.
"""


class Claim(Settings):
    """A claim of the paper and what it is judged by; data/claims.yaml says what the words mean."""

    group: Literal[CLAIM_GROUPS]
    says: str
    place: str
    measure: str = ""
    given: dict = Field(default={}, alias="with")
    judged: Literal["value", "lead"]
    side: Literal["above", "below", "within"]
    threshold: float
    unit: str
    why: str
    needs: tuple[Name, ...]
    against: str = Field(alias="baseline")
    kind: Literal["detection", "generalisation", "structure", "decoding", "table", "arithmetic"]
    lacks: str = ""
    changed: str = ""

    @model_validator(mode="after")
    def _can_be_measured(self):
        if bool(self.measure) == bool(self.lacks):
            raise ValueError("a claim has either a measure or what it lacks")
        try:
            if self.measure:
                inspect.signature(MEASURES[self.measure]).bind(None, **self.given)
        except (KeyError, TypeError) as error:
            raise ValueError(f"there is no measure '{self.measure}' like this: {error}") from None
        return self


def load_claims(path: Path = LEDGER) -> dict[str, Claim]:
    """Read and validate a ledger; SentenceError where it is none."""
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
        return TypeAdapter(dict[Name, Claim]).validate_python(content)
    except ValidationError as error:
        raise SentenceError(f"{path.name}: {one_sentence(error, content)}") from None
    except (OSError, yaml.YAMLError) as error:
        raise SentenceError(f"{path.name}: {' '.join(str(error).split())}.") from None


def verdict(claim: Claim, of: Found) -> tuple[str, str]:
    """Return the verdict, and why it is none or no plain one; data/claims.yaml states the rule."""
    lead, sign = claim.judged == "lead", -1 if claim.side == "below" else 1
    value, *ends = (of.value - of.baseline, of.lead_low, of.lead_high) if lead else of[:3]
    if not np.isfinite([value, *ends]).all():
        return UNTESTED, "no interval: too few units, or no baseline to lead"
    if claim.side == "within":
        there, sure = abs(value) <= claim.threshold, max(map(abs, ends)) <= claim.threshold
    else:
        line = 0 if lead else claim.threshold
        there, sure = sign * (value - claim.threshold) > 0, min(sign * (x - line) for x in ends) > 0
    if not (there and sure):
        reaches = claim.side != "within" and any(sign * (x - claim.threshold) > 0 for x in ends)
        return (IN_PART, _WIDE) if there else (FAILS, _REACHES * reaches)
    if lead or claim.side == "within":
        return HOLDS, ""
    if not np.isfinite([of.baseline, of.lead_low, of.lead_high]).all():
        return IN_PART, "there is no baseline beside it"
    return (IN_PART, _BEATEN) if max(sign * of.lead_low, sign * of.lead_high) < 0 else (HOLDS, "")


def judge(results: Results, claims: dict[str, Claim]) -> pd.DataFrame:
    """Measure and judge all claims on a study: a row of claims.csv each."""
    evidence, study, rows = Evidence(results), results.study, []
    for name, claim in claims.items():
        of = Found()
        try:
            if claim.lacks or ("truth" in claim.needs and not roles.scored_scans(study)):
                raise Untestable(claim.lacks or "a virtual map, whose truth is known")
            of = MEASURES[claim.measure](evidence, **claim.given)
            word, because = verdict(claim, of)
        except (Untestable, MissingResultError) as error:
            word, because = UNTESTED, getattr(error, "what", f"it needs {error}")
        virtual = {study.is_virtual(scan) for scan in of.scans or study.training_scans}
        kind = "both" if len(virtual) > 1 else "virtual" if True in virtual else "measured"
        row = claim.model_dump() | of._asdict() | {"verdict": word, "because": because}
        rows.append(row | {"claim": name, "evidence": kind * (word != UNTESTED)})
    origin = {"seed": study.seed, "commit": git_commit()}
    return pd.DataFrame(rows, columns=_COLUMNS).assign(**origin)


def claims_page(results: Results, table: pd.DataFrame) -> str:
    """Return the page claims.md: the verdicts, where a baseline wins, and the claims by group."""
    counts = table["verdict"].value_counts().items()
    parts = [f"# The paper's claims: {escape(title_of(results.study), quote=False)}\n", _RULE]
    parts += [", ".join(f"{word}: {count}" for word, count in counts) + ".\n"]
    sign = np.where(table["side"] == "below", -1, 1)
    lost = (np.maximum(sign * table["lead_low"], sign * table["lead_high"]) < 0).to_numpy()
    parts += ["## Where the baseline does better, for sure\n"]
    for row in table[lost & (table["side"] != "within")].itertuples():
        numbers = f"{row.value:.3g} against {row.baseline:.3g} {row.unit}"
        parts.append(f"- `{row.claim}`: {numbers} of the baseline ({row.against}).")
    for group, rows in table.groupby("group", sort=False):
        text = pd.DataFrame(map(_printed, rows.itertuples())).to_markdown(index=False)
        parts.append(f"\n## {group}\n\n{text}")
    parts.append("\n## Measures that changed after the ledger was committed\n")
    parts += [f"- `{row.claim}`: {row.changed}." for row in table.itertuples() if row.changed]
    return "\n".join(parts) + "\n"


def _printed(row) -> dict[str, str]:
    """A claim as the page prints it, for who reads no CSV."""
    found, lead = "", "lead " * (row.judged == "lead")
    if row.verdict != UNTESTED:
        judged = (row.value - row.baseline, row.lead_low, row.lead_high)
        value, *ends = judged if lead else (row.value, row.low, row.high)
        found = f"{lead}{value:.3g} ({' to '.join(f'{end:.3g}' for end in ends)}),"
        found += f" of {row.value:.3g}," * bool(lead)
    beside = "" if np.isnan(row.baseline) else f"{row.baseline:.3g}: "
    verdict = f"**{row.verdict}**" + f" ({row.because})" * bool(row.because)
    return {
        "claim": f"{row.says} {row.place}",
        "verdict": f"{verdict} {row.evidence}",
        "found (95 %)": f"{found} {row.units}",
        "asked for": f"{lead}{row.side} {row.threshold:g} {row.unit}",
        "baseline": f"{beside}{row.against}",
    }
