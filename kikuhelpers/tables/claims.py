"""The paper's claims, data/claims.yaml, and the one rule that makes verdicts of measures."""

import inspect
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.results import MissingResultError, Results
from kikuhelpers.study import PROJECT_ROOT, roles
from kikuhelpers.study.layout import CLAIM_GROUPS
from kikuhelpers.study.load import one_sentence
from kikuhelpers.study.values import Name, Settings
from kikuhelpers.tables import claim_measures_tables
from kikuhelpers.tables.evidence import Evidence, Found, Untestable
from kikuhelpers.tables.table1 import title_of

LEDGER = PROJECT_ROOT / "data" / "claims.yaml"
VERDICTS = HOLDS, IN_PART, FAILS, UNTESTED = (
    "holds", "holds in part", "does not hold", "cannot be tested here",
)  # fmt: skip
_FUNCTIONS = inspect.getmembers(claim_measures_tables, inspect.isfunction)
MEASURES = {n: f for n, f in _FUNCTIONS if f.__module__ == claim_measures_tables.__name__}
_COLUMNS = (
    "claim group evidence verdict value low high side threshold judged baseline lead lead_low"
)
_COLUMNS += " lead_high unit units kind because says place against"
_ENDS = ("value", "low", "high"), ("lead", "lead_low", "lead_high")
_WIDE, _BEATEN = "the interval reaches beyond the threshold", "the baseline does better"
_RULE = """A claim holds where the judged number, a value or its lead over the baseline, lies on its
side of the threshold with its whole 95 % interval (a lead: with its interval beyond 0), and the
baseline does no better. It holds in part where the number lies there, but the interval does not, or
the baseline is missing or does better. Else it does not hold: the claim has to show itself.
Thresholds and reasons were committed before any measure was run (data/claims.yaml). Intervals draw
the units named; they do not hold another training nor, of one scan, another specimen. There are no
measured patterns of an AM alloy here: what is said of AM is virtual.
"""


class LedgerError(SentenceError):
    """A ledger of claims that cannot be read."""


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
    baseline: str
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
    """Read and validate a ledger; LedgerError, one sentence, where it is none."""
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
        return TypeAdapter(dict[Name, Claim]).validate_python(content)
    except ValidationError as error:
        raise LedgerError(f"{path.name}: {one_sentence(error, content)}") from None
    except (OSError, yaml.YAMLError) as error:
        raise LedgerError(f"{path.name}: {' '.join(str(error).split())}.") from None


def verdict(claim: Claim, found: Found) -> tuple[str, str]:
    """Return the verdict, and why it is none or no plain one; data/claims.yaml states the rule."""
    lead = claim.judged == "lead"
    value = found.value - found.baseline if lead else found.value
    ends, other = np.array(found.lead_ends if lead else found.ends), np.array(found.lead_ends)
    if not np.isfinite([value, *ends]).all():
        return UNTESTED, "no interval: too few units, or no baseline to lead"
    sign, within = -1 if claim.side == "below" else 1, claim.side == "within"
    if within:
        there, sure = abs(value) <= claim.threshold, np.abs(ends).max() <= claim.threshold
    else:
        there = sign * (value - claim.threshold) > 0
        sure = (sign * (ends - (0 if lead else claim.threshold))).min() > 0
    if not there:
        return FAILS, ""
    if sure and not (lead or within) and np.isnan(found.baseline):
        return IN_PART, "there is no baseline beside it"
    if sure and not (lead or within) and (sign * other).max() < 0:
        return IN_PART, _BEATEN
    return (HOLDS, "") if sure else (IN_PART, _WIDE)


def judge(results: Results, claims: dict[str, Claim]) -> pd.DataFrame:
    """Measure and judge all claims on a study: a row of claims.csv each."""
    evidence, study, rows = Evidence(results), results.study, []
    for name, claim in claims.items():
        found = Found(np.nan, (np.nan, np.nan), units="")
        try:
            if claim.lacks or ("truth" in claim.needs and not roles.scored_scans(study)):
                raise Untestable(claim.lacks or "a virtual map, whose truth is known")
            found = MEASURES[claim.measure](evidence, **claim.given)
            word, because = verdict(claim, found)
        except Untestable as error:
            word, because = UNTESTED, f"it needs {error}"
        except MissingResultError as error:
            word, because = UNTESTED, error.what
        virtual = {study.is_virtual(scan) for scan in found.scans or study.training_scans}
        kind = "both" if len(virtual) > 1 else "virtual" if True in virtual else "measured"
        row = claim.model_dump() | {"claim": name, "verdict": word, "because": because}
        row |= {"evidence": kind * (word != UNTESTED), "against": claim.baseline}
        row |= {"value": found.value, "baseline": found.baseline, "units": found.units}
        row |= {"low": found.ends[0], "high": found.ends[1], "lead": found.value - found.baseline}
        rows.append(row | {"lead_low": found.lead_ends[0], "lead_high": found.lead_ends[1]})
    return pd.DataFrame(rows, columns=_COLUMNS.split())


def claims_page(results: Results, table: pd.DataFrame) -> str:
    """Return the page claims.md: the verdicts, where a baseline wins, and all numbers by group."""
    counts = table["verdict"].value_counts().reindex(VERDICTS, fill_value=0)
    parts = [f"# The paper's claims: {title_of(results.study)}\n"]
    parts += [", ".join(f"{n} {word}" for word, n in counts.items()) + ".\n", _RULE]
    leads = (table["judged"] == "lead") & (table["verdict"] == FAILS)
    parts.append("## Where the baseline does better, or latents do not lead\n")
    for row in table[(table["because"] == _BEATEN) | leads].itertuples():
        parts.append(f"- {row.says} Baseline: {row.against}, {row.baseline:.3g} {row.unit}.")
    for group, rows in table.groupby("group", sort=False):
        shown = rows.map(lambda cell: f"{cell:.3g}" if isinstance(cell, float) else cell)
        ends = [
            shown[name] + " [" + shown[low] + ", " + shown[high] + "]" for name, low, high in _ENDS
        ]
        cells = {"claim": rows["says"] + " (" + rows["place"] + ")", "verdict": rows["verdict"]}
        cells |= {"because": rows["because"], "value": ends[0], "unit": rows["unit"]}
        cells["wanted"] = rows["judged"] + " " + rows["side"] + " " + shown["threshold"]
        cells |= {"baseline": shown["against"] + ": " + shown["baseline"], "lead": ends[1]}
        cells |= {"drawn": rows["units"], "evidence": rows["evidence"]}
        text = pd.DataFrame(cells).to_markdown(index=False, disable_numparse=True)
        parts.append(f"\n## {group}\n\n{text.replace('nan [nan, nan]', '').replace(': nan', '')}\n")
    return "\n".join(parts)
