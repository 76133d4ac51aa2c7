"""Reports: text within its width, pages that load nothing, folders replaced whole or not at all."""

from __future__ import annotations

import base64
import errno
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fracsde import _figures
from fracsde._figures import house
from fracsde._report import folder as folder_module
from fracsde.compare import compare
from fracsde.errors import BackendUnavailable, FracsdeError, InputError
from fracsde.records.assumption import AssumptionTest
from fracsde.records.measurement import Measurement, Prediction, Quantity
from fracsde.report import (
    HtmlPage,
    Report,
    ReportWriteError,
    Verdict,
    refuse_target,
    write_report,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NASTY = "<script src='http://x.example/a.js'>&\"'\n| $x_1$ `code` é"
# The smallest picture there is: one pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)


def report(n: int = 3, *, name: str = "variance", off: float = 0.0, theory: str = "map") -> Report:
    quantity = Quantity(name=name, unit="weight^2", labels=[f"e{i}" for i in range(n)])
    other = Quantity(name="exponent")
    value = np.linspace(1.0, 2.0, n)
    run = [
        Measurement(quantity=quantity, value=value * (1 + off), stderr=0.005, n_effective=5000),
        Measurement(quantity=other, value=1.0, stderr=0.1, n_effective=50, method="fit"),
    ]
    predictions = [
        Prediction(quantity=quantity, value=value, numerical_error=1e-9, theory=theory),
        Prediction(quantity=other, value=1.0, numerical_error=0.0, theory=theory),
    ]
    rival = Prediction(quantity=quantity, value=5.0 * value, numerical_error=0.0, theory="flow")
    return compare(predictions, run, tolerance=0.05, rivals={"flow": rival})


# ---------------------------------------------------------------- text

words = st.text(min_size=1, max_size=80).filter(str.strip)
numbers = st.floats(1e-120, 1e120)


@given(name=words, label=words, theory=words, predicted=numbers, factor=st.floats(-50, 50))
def test_text_has_one_line_per_row_within_110_columns(
    name: str, label: str, theory: str, predicted: float, factor: float
) -> None:
    quantity = Quantity(name=name, unit="weight", labels=(label, label))
    run = Measurement(
        quantity=quantity, value=factor * predicted, stderr=0.1 * predicted, n_effective=7.5
    )
    prediction = Prediction(quantity=quantity, value=predicted, numerical_error=0.0, theory=theory)
    result = compare(prediction, run, tolerance=0.05)
    lines = str(result).split("\n")
    rule = next(i for i, line in enumerate(lines) if set(line) == {"-"} and len(line) > 40)
    assert max(map(len, lines)) <= 110
    assert len(lines) - rule - 1 == len(result.rows)
    assert all(line.endswith(result.verdict.name) for line in lines[rule + 1 :])


def test_text_columns_are_aligned() -> None:
    lines = str(report()).split("\n")
    head = next(line for line in lines if line.startswith("quantity"))
    rows = [line for line in lines if line.endswith(tuple(v.name for v in Verdict))]
    assert len(rows) == 4
    assert all(line.index(" " + line.split()[-1]) + 1 == head.index("verdict") for line in rows)
    assert lines[-1] == "Rival 'flow' is excluded: 3 of 3 rows disagree."


def test_markdown_keeps_its_columns_whatever_the_names() -> None:
    text = report(name=NASTY).to_markdown()
    table = [line for line in text.split("\n") if line.startswith("| ")]
    assert len(table) == 2 + 4
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {10}
    assert "<script" not in text.replace(r"\<", "")


# ---------------------------------------------------------------- the page


class Outline(HTMLParser):
    """Tags that stay open or close twice, what the page would load, and its text."""

    VOID = frozenset({"meta", "link", "img", "br", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        self.faults += self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for key, value in attrs if key in {"src", "href", "srcset"}]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


def is_sound(page: str) -> bool:
    """Whether a page is balanced, runs nothing and loads nothing from elsewhere."""
    outline = Outline(page)
    inside = all(url.startswith(("data:", "#")) for url in outline.loads)
    css = "".join(re.findall(r"<style>(.*?)</style>", page, re.DOTALL))
    still = not {"script", "iframe", "object", "embed"} & set(outline.tags)
    quiet = "url(" not in css and "@import" not in css
    return not outline.faults and inside and still and quiet


@pytest.fixture
def page(tmp_path: Path) -> str:
    result = replace(report(40, name=NASTY, theory=NASTY), settings={NASTY: NASTY})
    path = write_report(
        tmp_path / "out",
        title=NASTY,
        lead=NASTY,
        reports={NASTY: result, "second": report(off=0.3)},
        figures={"second": (PNG, NASTY), NASTY + "2": PNG},
        settings={"nested": {"a": [1, {"b": NASTY}]}},
        provenance=result.provenance,
    )
    return path.read_text(encoding="utf-8")


def test_page_is_well_formed_and_loads_nothing(page: str) -> None:
    assert is_sound(page)
    assert not re.search(r"""(src|href)=["']?https?:""", page)


@pytest.mark.twin
@pytest.mark.parametrize(
    ("part", "damage"),
    [
        ("</section>", ""),
        ("</main>", "</main></main>"),
        ("</main>", '<img src="https://x.example/a.png"></main>'),
        ("</main>", "<script>1</script></main>"),
        ("<style>", "<style>@import 'a.css';"),
    ],
)
def test_twin_damaged_page_is_rejected(page: str, part: str, damage: str) -> None:
    assert part in page
    assert not is_sound(page.replace(part, damage, 1))


def test_page_escapes_every_text_and_shows_it(page: str) -> None:
    assert "<script" not in page
    assert Outline(page).text.count(NASTY) >= 8


def test_page_says_verdicts_in_words_and_symbols(page: str) -> None:
    for verdict in Verdict:
        assert f"{verdict.symbol} {verdict.name}" in Outline(page).text


def test_long_tables_start_closed_and_short_ones_open(page: str) -> None:
    summaries = re.findall(r"<details( open)?>\n<summary>([^<]*?): (\d+) rows?, ", page)
    assert {int(n) for _, _, n in summaries} == {1, 3, 40}
    assert all(bool(opened) == (int(n) <= 12) for opened, _, n in summaries)


def test_figure_named_like_a_report_stands_in_its_section(page: str) -> None:
    section = page[page.index('id="report-2"') :]
    assert section.count("<img") == 1
    assert page.count("<img") == 2


def test_other_figures_stand_before_the_reports(page: str) -> None:
    assert page.index("<h2>Figures</h2>") < page.index('id="report-1"')


def test_findings_and_tables_stand_on_the_page_and_in_the_json(tmp_path: Path) -> None:
    target = write_report(
        tmp_path / "r",
        title="t",
        reports={"one": report()},
        findings={"the <finding>": "5 % more"},
        tables={"a table": (["name", "value"], [["x & y", "1"]])},
    )
    text = target.read_text(encoding="utf-8")
    assert is_sound(text)
    assert "the &lt;finding&gt;" in text
    assert "5\u00a0% more" in text
    assert "x &amp; y" in text
    stored = json.loads((tmp_path / "r" / "report.json").read_text(encoding="utf-8"))
    assert stored["findings"] == {"the <finding>": "5 % more"}
    assert stored["tables"] == {"a table": [{"name": "x & y", "value": "1"}]}


def test_target_can_be_refused_before_the_work(tmp_path: Path) -> None:
    refuse_target(tmp_path / "new")
    (tmp_path / "photo.jpg").write_text("mine")
    with pytest.raises(InputError, match=r"photo\.jpg"):
        refuse_target(tmp_path)


def test_place_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    refuse_target(tmp_path / "new" / "deep")
    with pytest.raises(ReportWriteError, match="cannot write the report"):
        refuse_target(tmp_path / "file" / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "table", [(["a", "a"], [["1", "2"]]), (["a", "b"], [["1"]]), (["a", "b"], [["1", 2]])]
)
def test_refuses_a_table_that_would_lose_a_cell(tmp_path: Path, table: Any) -> None:
    with pytest.raises(InputError, match=r"tables\['Summary'\]"):
        write_report(tmp_path / "x", title="t", reports={"r": report()}, tables={"Summary": table})


def test_html_page_can_be_built_from_any_section() -> None:
    assert is_sound(HtmlPage(title=NASTY, sections=["<section><p>x</p></section>"]).render())


# ---------------------------------------------------------------- the folder


def listing(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in listing(folder) if "." in name}


def write(folder: Path, off: float = 0.0, **more: Any) -> Path:
    return write_report(folder, title="t", reports={"r": report(off=off)}, **more)


def test_folder_holds_page_numbers_and_figures(tmp_path: Path) -> None:
    target = tmp_path / "new" / "out"
    path = write(target, figures={"../Fig: 1": (PNG, "one"), "fig 1": PNG}, settings={"seed": 1})
    assert path == target / "index.html"
    assert listing(target) == [
        "figures",
        "figures/Fig-1.png",
        "figures/fig-1-2.png",
        "index.html",
        "report.json",
    ]
    content = json.loads((target / "report.json").read_text(encoding="utf-8"))
    assert content["reports"]["r"] == report().to_dict()
    assert content["figures"]["../Fig: 1"] == {"file": "figures/Fig-1.png", "caption": "one"}
    assert content["settings"] == {"seed": 1}
    assert listing(tmp_path) == ["new", "new/out", *(f"new/out/{x}" for x in listing(target))]


def test_saved_report_has_its_own_json_and_figure(tmp_path: Path) -> None:
    result = report()
    page = result.save(tmp_path / "out", title="Title")
    content = json.loads((page.parent / "report.json").read_text(encoding="utf-8"))
    assert content.pop("figures")["Result"]["file"] == "figures/Result.png"
    assert content == result.to_dict()
    assert is_sound(page.read_text(encoding="utf-8"))


def test_equal_reports_are_equal_byte_for_byte(tmp_path: Path) -> None:
    one, two = report().save(tmp_path / "one"), report().save(tmp_path / "two")
    assert contents(one.parent) == contents(two.parent)


def test_earlier_report_is_replaced_whole(tmp_path: Path) -> None:
    write(tmp_path / "out", figures={"old": PNG})
    write(tmp_path / "out", off=0.5)
    assert listing(tmp_path / "out") == ["index.html", "report.json"]
    assert listing(tmp_path)[0] == "out"


def test_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "index.html").exists()


def _raise(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
DENIED = PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def later(error: BaseException, sound: Callable[..., Any], calls: int) -> Callable[..., Any]:
    """A function that works ``calls`` times and then fails once."""
    left = [calls]

    def call(*args: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] == -1:
            raise error
        return sound(*args, **more)

    return call


@pytest.mark.parametrize("error", [FULL, DENIED, KeyboardInterrupt(), RuntimeError("no")], ids=repr)
@pytest.mark.parametrize(
    ("owner", "name", "calls"),
    [(os, "fsync", i) for i in range(5)]
    + [
        (folder_module, "write_new", 1),
        (Path, "mkdir", 1),
        (Path, "rename", 0),
        (Path, "rename", 1),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_failure_leaves_the_old_report_and_nothing_else(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    owner: Any,
    name: str,
    calls: int,
) -> None:
    target = tmp_path / "out"
    write(target)
    before = contents(target)
    expected = ReportWriteError if isinstance(error, OSError) else type(error)
    monkeypatch.setattr(owner, name, later(error, getattr(owner, name), calls))
    with pytest.raises(expected):
        write(target, off=0.5, figures={"f": PNG})
    monkeypatch.undo()
    assert contents(target) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.twin
def test_twin_that_writes_in_place_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_place(target: Path, files: dict[str, bytes], _: Any) -> None:
        for name, content in files.items():
            (target / name).write_bytes(content)
            os.fsync(0)

    monkeypatch.setattr("fracsde._report.write.replace_folder", in_place)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    target = tmp_path / "out"
    target.mkdir()
    write(target)
    before = contents(target)
    monkeypatch.setattr(os, "fsync", _raise(FULL))
    with pytest.raises(OSError, match="No space"):
        write(target, off=0.5)
    assert contents(target) != before


def test_failure_of_a_first_report_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", _raise(FULL))
    with pytest.raises(FracsdeError, match=r"cannot write .*out': No space left.*free some space"):
        write(tmp_path / "out")
    assert listing(tmp_path) == []


def test_reader_sees_only_whole_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    write(target)
    old, seen = contents(target), []
    sound = os.fsync

    def watch(handle: int) -> None:
        sound(handle)
        seen.append(contents(target))

    monkeypatch.setattr(os, "fsync", watch)
    write(target, off=0.5)
    new = contents(target)
    assert old != new
    assert len(seen) >= 3
    assert all(state in (old, new) for state in seen)


def test_json_file_is_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "numbers.json"
    text = report().to_json(path)
    assert path.read_text(encoding="utf-8") == text
    monkeypatch.setattr(os, "fsync", _raise(FULL))
    with pytest.raises(ReportWriteError, match="what was there before is unchanged"):
        report(off=0.5).to_json(path)
    assert path.read_text(encoding="utf-8") == text
    assert listing(tmp_path) == ["numbers.json"]


# ---------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"thesis.tex": "x"}, "holds 'thesis.tex' and no report.json of ours"),
        ({"report.json": "{}"}, "no report.json of ours"),
        ({"report.json": "[]"}, "no report.json of ours"),
        ({"report.json": "not json"}, "no report.json of ours"),
        ({"report.json": '{"schema": "other/1"}'}, "no report.json of ours"),
        ({"a": "", "b": "", "c": "", "d": "", "e": ""}, "'a', 'b', 'c' and 2 more"),
    ],
)
def test_refuses_a_folder_that_is_not_an_earlier_report(
    tmp_path: Path, files: dict[str, str], words: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=words):
        write(tmp_path)
    assert listing(tmp_path) == sorted(files)


@pytest.mark.parametrize("name", ["notes.txt", "figures/drawing.svg"])
def test_refuses_to_lose_what_lies_beside_an_earlier_report(tmp_path: Path, name: str) -> None:
    target = tmp_path / "out"
    write(target, figures={"f": PNG})
    (target / name).write_text("mine")
    with pytest.raises(InputError, match=rf"besides the report it holds '{name}', which would be"):
        write(target)
    assert (target / name).read_text() == "mine"


def test_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert write(tmp_path / "out").exists()


def test_refuses_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(InputError, match="not a folder that can be replaced"):
        write(tmp_path / "out")


@pytest.mark.parametrize("figure", [b"GIF89a", "fig.png", None, (PNG, "a", "b")])
def test_refuses_a_figure_that_is_neither(tmp_path: Path, figure: Any) -> None:
    with pytest.raises(InputError, match=r"`figures\['f'\]` must be a matplotlib Figure or the"):
        write(tmp_path / "out", figures={"f": figure})
    assert listing(tmp_path) == []


def test_refuses_a_page_without_reports(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`reports` must map headings to Reports"):
        write_report(tmp_path / "out", title="t", reports={})


# ---------------------------------------------------------------- figures


@pytest.mark.parametrize("rows", [1, 3, 60])
def test_ratio_plot_draws_every_row_and_repeats(rows: int) -> None:
    result = report(rows)
    first, second = (_figures.png_bytes(result.plot()) for _ in range(2))
    assert first == second
    assert first.startswith(b"\x89PNG")
    assert b"Software" not in first
    assert b"tIME" not in first
    (axes,) = result.plot(rivals=[]).axes
    drawn = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert len(drawn) == len(result.rows)


def test_ratio_plot_turns_points_out_of_frame_into_arrowheads() -> None:
    (axes,) = report().plot().axes
    low, high = axes.get_xlim()
    points = [line for line in axes.lines if line.get_marker() == "<" and len(line.get_xdata())]
    assert len(points) == 3
    assert all(line.get_xdata()[0] == pytest.approx(low) for line in points)
    assert (low + high) / 2 == pytest.approx(1.0)


def test_ratio_plot_reads_no_name_as_mathematics() -> None:
    result = report(name="$x_{", theory="_a$b^{")
    assert _figures.png_bytes(result.plot())


def test_figures_leave_global_state_alone() -> None:
    # In a process of its own; reading "backend" itself would choose one and import pyplot.
    code = (
        "import sys, matplotlib, tests.test_report as t\n"
        "def state():\n"
        "    keys = [key for key in matplotlib.rcParams if key != 'backend']\n"
        "    chosen = matplotlib.get_backend(auto_select=False)\n"
        "    return chosen, [str(matplotlib.rcParams[key]) for key in keys]\n"
        "before = state()\n"
        "t._figures.png_bytes(t.report().plot())\n"
        "assert state() == before and before[0] is None\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    root = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_refuses_a_rival_that_is_not_in_the_report() -> None:
    with pytest.raises(
        InputError, match=r"must be in the report, got \['none'\]; it has \['flow'\]"
    ):
        report().plot(rivals=["none"])


def test_refuses_to_draw_without_matplotlib_and_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house, "import_module", _raise(ImportError("matplotlib")))
    with pytest.raises(BackendUnavailable, match=r'pip install "fracsde\[plot\]"'):
        report().save(tmp_path / "out")
    assert listing(tmp_path) == []
    assert report().save(tmp_path / "out", figure=False).exists()


# ---------------------------------------------------------------- assumptions


def assumption(name: str, effect: float = 0.0, half: float = 0.01) -> AssumptionTest:
    return AssumptionTest(
        name=name,
        question="?",
        effect=effect,
        stderr=half / 3,
        low=effect - half,
        high=effect + half,
        tolerance=0.05,
        meaning="relative change",
        consequence=f"mend {name}",
    )


FAILS, HOLDS = assumption("independence of batches", -1.0), assumption("Gaussianity")
UNDECIDED = assumption("quadratic loss", 0.0, 0.3)


@pytest.mark.parametrize(
    ("off", "tests", "words"),
    [
        (
            0.2,
            (FAILS, HOLDS, UNDECIDED),
            "; of the assumptions, independence of batches FAILS, quadratic loss is UNDECIDED, "
            "one other holds.",
        ),
        (0.2, (HOLDS,), "; every assumption that was tested holds, so look to the matrices"),
        (0.2, (), "; the data exclude 'flow'."),
    ],
)
def test_sentence_names_the_assumption_that_fails_where_a_theory_disagrees(
    off: float, tests: tuple[AssumptionTest, ...], words: str
) -> None:
    assert words in replace(report(off=off), assumptions=tests).sentence


def test_agreement_in_spite_of_a_failing_assumption_is_said_so() -> None:
    quantity = Quantity(name="variance")
    run = Measurement(quantity=quantity, value=1.0, stderr=0.001, n_effective=5000)
    theory = Prediction(quantity=quantity, value=1.0, numerical_error=0.0)
    tests = [FAILS, HOLDS]
    result = compare(theory, run, tolerance=0.05, assumptions=tests)
    assert result.verdict is Verdict.AGREES
    assert result.sentence.endswith("it does so although independence of batches FAILS.")


def test_assumptions_stand_in_text_markdown_json_and_page_alike(tmp_path: Path) -> None:
    tests = (FAILS, replace(HOLDS, name=NASTY), UNDECIDED)
    result = replace(report(off=0.2), assumptions=tests)
    page = result.save(tmp_path / "r", figure=False).read_text()
    outline = Outline(page)
    assert not outline.faults
    assert "src='http" not in page
    assert "mend independence of batches" in outline.text
    assert "mend independence of batches" in result.to_markdown()
    assert "mend independence of batches" in " ".join(str(result).split())
    assert max(map(len, str(result).split("\n"))) <= 110
    content = json.loads((tmp_path / "r" / "report.json").read_text())
    assert [test["verdict"] for test in content["assumptions"]] == ["FAILS", "HOLDS", "UNDECIDED"]


def test_assumptions_change_no_verdict_but_the_hash() -> None:
    quantity = Quantity(name="variance")
    run = Measurement(quantity=quantity, value=1.0, stderr=0.001, n_effective=5000)
    theory = Prediction(quantity=quantity, value=1.0, numerical_error=0.0)
    bare = compare(theory, run, tolerance=0.05)
    told = compare(theory, run, tolerance=0.05, assumptions=(FAILS,))
    assert bare.rows == told.rows
    assert bare.provenance.input_hash != told.provenance.input_hash


@pytest.mark.parametrize("wrong", [3, ["Gaussianity"], [HOLDS, HOLDS]])
def test_refuses_assumptions_that_are_none_or_occur_twice(wrong: Any) -> None:
    with pytest.raises(InputError, match="assumptions"):
        replace(report(), assumptions=wrong)


# ---------------------------------------------------------------- in words


@pytest.mark.parametrize(
    ("off", "tests", "words"),
    [
        (0.2, (), "No assumption was tested"),
        (0.2, (HOLDS,), "Every assumption that was tested holds: check that curvature"),
        (0.2, (UNDECIDED,), "not all could be decided"),
        (0.2, (FAILS,), "Independence of batches: mend independence of batches."),
        (0.0, (), "times as many data would bring it to half the tolerance"),
    ],
)
def test_next_step_fits_the_result(
    off: float, tests: tuple[AssumptionTest, ...], words: str
) -> None:
    result = replace(report(off=off), assumptions=tests)
    assert words in result.next_step
    assert words.split(":")[0] in result.to_markdown()
    assert result.to_dict()["next_step"] == result.next_step


def test_next_step_after_agreement_names_rivals_that_remain() -> None:
    quantity = Quantity(name="variance")
    run = Measurement(quantity=quantity, value=1.0, stderr=0.001, n_effective=5000)
    theory = Prediction(quantity=quantity, value=1.0, numerical_error=0.0)
    alone = compare(theory, run, tolerance=0.05)
    beside = compare(theory, run, tolerance=0.05, rivals={"flow": theory})
    assert alone.next_step.startswith("Nothing, if the tolerance")
    assert "do not tell the theory from 'flow'" in beside.next_step


def test_page_says_in_words_what_was_compared(tmp_path: Path) -> None:
    result = report(name=NASTY, theory=NASTY)
    outline = Outline(result.save(tmp_path / "r", figure=False).read_text())
    assert not outline.faults
    for words in ("In words", "4 numbers measured on the run", "not a proof of the theory"):
        assert words in outline.text


def test_more_figures_stand_on_the_page_and_in_the_folder(tmp_path: Path) -> None:
    more = {"spectrum": (PNG, "Variances along the spectrum.")}
    page = report().save(tmp_path / "r", figure=False, figures=more).read_text()
    assert "Variances along the spectrum." in page
    assert (tmp_path / "r" / "figures" / "spectrum.png").read_bytes() == PNG
    with pytest.raises(InputError, match="'Result'"):
        report().save(tmp_path / "s", figures={"Result": PNG})
