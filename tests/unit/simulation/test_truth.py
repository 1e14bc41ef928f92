"""Truth can fail: cities whose truth is known, looked at on a few days, with parts of the judge switched off."""

import json

import numpy as np
import pytest

from simulation.truth import __main__ as truth
from simulation.truth import counting
from simulation.truth.city import City, city
from simulation.truth.judging import SILENT_DAYS, FromSilence, Office, from_silent_feed, said
from yumai.evaluation import cells, coverage
from yumai.methods.like_for_like import Present
from yumai.methods.silence import Silence, silences

SILENT = 14
"""In this city a feed falls silent early, where two districts are not far above their targets."""
JOINING = 0
"""Here a platform joins two districts that lag."""


@pytest.fixture(scope="module")
def town() -> City:
    return city(SILENT)


def test_books_are_known_late_and_without_the_silent_feed_until_its_backfill(town):
    day = town.silent_from + 3
    mute = town.whole.platform == f"platform-{town.silent_platform}"
    known, calm = town.known(day), town.known(day, silence=False)
    assert not known.fen[mute, town.silent_from : day + 1].any()
    assert calm.fen[mute, town.silent_from : day + 1].all()
    assert not known.fen[:, day + 1 :].any()
    np.testing.assert_array_equal(known.fen[:, : day - 3], calm.fen[:, : day - 3].copy())
    assert 0.9 < known.fen[~mute, day].sum() / town.whole.fen[~mute, day].sum() < 0.97
    after = town.known(town.backfilled_on + SILENT_DAYS)
    gone = slice(town.silent_from, town.silent_from + SILENT_DAYS)
    np.testing.assert_array_equal(after.fen[:, gone], town.whole.fen[:, gone])


def test_targets_are_of_the_platforms_that_were_there_before(town):
    joined = town.whole.platform == "platform-4"
    assert joined.any()
    assert not any((year.platform == "platform-4").any() for year in town.past.values())
    assert town.total.sum() == town.whole.fen[~joined].sum()
    np.testing.assert_allclose(1 - town.total / town.target, town.short, atol=1e-9)


def _alerts_from_silence(of: City) -> int:
    days = [of.silent_from - 1, *range(of.silent_from, of.silent_from + 5)]
    days.append(of.backfilled_on + SILENT_DAYS)
    office = Office(of)
    return from_silent_feed(office, said(office, days), days).alerts


def test_without_silence_in_the_judge_a_silent_feed_raises_alerts(town, monkeypatch):
    assert _alerts_from_silence(town) == 0

    def deaf(counted, fen, alive=None):
        found = silences(counted, fen, alive)
        never = np.zeros_like(found.silent)
        return Silence(never, never, found.rate, np.zeros_like(found.missed))

    monkeypatch.setattr(coverage, "silences", deaf)
    assert _alerts_from_silence(town) > 0


@pytest.mark.parametrize("compared", [True, False])
def test_unless_the_joining_platform_is_taken_out_truth_is_red(monkeypatch, tmp_path, compared):
    monkeypatch.setattr(counting, "look_days", lambda of, every: [272, of.whole.days - 1])
    monkeypatch.setattr(counting, "from_silent_feed", lambda *_: FromSilence(0, 0))
    if not compared:
        present = cells.present

        def always(frame, of):
            found = present(frame, of)
            return Present(np.zeros_like(found.pairs), np.zeros_like(found.city), found.days)

        monkeypatch.setattr(cells, "present", always)
    out = tmp_path / "truth.json"
    arguments = ["--cities", "1", "--seed", str(JOINING), "--processes", "1", "--out", str(out)]
    status = truth.main(arguments)
    found = json.loads(out.read_text())
    assert ("found_october" in counting.missed(found)) != compared
    assert status == 1 or compared
