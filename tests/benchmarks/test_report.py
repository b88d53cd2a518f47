"""Tables of result files, and the page they are written into."""

from __future__ import annotations

import pytest

from benchmarks import command, report, table
from benchmarks.harness import ROOT, BenchmarkError, samples
from tests.benchmarks.samples import TIMES, content, result

PAGE = ROOT / "docs" / "performance.md"
#: Of a processor each; what is measured under many sets of kernels stands on other pages.
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*-*-*.json"))


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines()]


def test_columns_are_aligned():
    assert report.table(["network", "ms"], [["lenet5_relu", "16.2"], ["deepcnn21", "7.45"]]) == (
        "| network     | ms   |\n"
        "| ----------- | ---- |\n"
        "| lenet5_relu | 16.2 |\n"
        "| deepcnn21   | 7.45 |"
    )


def test_times_and_ratios_have_three_digits():
    times = [1.23, 12.3, 123, 1230]
    assert list(map(report.plain, times)) == ["1.23", "12.3", "123", "1,230"]
    # A round in which the machine was ten times slower leaves no trace in the ratio.
    found = samples({"one": [1.0, 10.0, 1.5], "other": [2.0, 20.0, 2.0], "slow": [24.0, 240.0, 24]})
    assert report.ratio(found, "one", "other") == "0.50 (0.50–0.75)"
    assert report.ratio(found, "slow", "other") == "12.0 (12.0–12.0)"


def test_numpy_is_compared_with_the_faster_setting_on_every_processor():
    other = content(results=[result(numpy=[0.004], torch=[0.002], **{"torch-kept": [0.008]})])
    other["environment"] = other["environment"] | {"processor": "Intel(R) Xeon(R) Processor"}
    other["results"].append(result(threads=4, numpy=[0.001], torch=[0.002]))
    found = report.sections([content(), other])
    header, _, first, second = cells(found["step"])
    assert header[2] == "AMD EPYC: NumPy, ms"
    assert header[5] == "Intel Xeon: NumPy, ms"
    assert first[:5] == ["`lenet5_relu` (256)", "2", "9.00", "8.00", "1.12 (1.00–1.25)"]
    assert first[5:] == ["4.00", "2.00", "2.00 (2.00–2.00)"]
    assert second == ["`lenet5_relu` (256)", "4", "–", "–", "–", "1.00", "2.00", "0.50 (0.50–0.50)"]
    assert cells(found["libraries"])[2] == ["JAX, jitted", "2", "4.50 (4.00–5.00)", "–"]


def test_what_torch_compiles_has_its_own_column():
    compiled = TIMES | {"torch-compiled": [0.016, 0.020]}
    found = report.sections([content(results=[result(**compiled), result(threads=1, **TIMES)])])
    header, _, first, second = cells(found["step"])
    assert (header[-1], first[-1], second[-1]) == ("÷ compiled (range)", "0.50 (0.50–0.50)", "–")


def test_a_processor_held_back_has_a_table_of_its_own():
    held, variables = content(), {"ONEDNN_MAX_CPU_ISA": "AVX2", "OPENBLAS_CORETYPE": "Haswell"}
    held["environment"] = held["environment"] | {"variables": variables}
    found = report.sections([content(), held])
    assert found["step"] == found["step, held back"] == report.sections([content()])["step"]
    assert "held back by `ONEDNN_MAX_CPU_ISA`, `OPENBLAS_CORETYPE`" in found["measured"]


def test_more_workers_than_cores_are_marked():
    points = [{"series": "workers", "value": n, "seconds": result()["seconds"]} for n in (2, 4)]
    found = report.sections([content(benchmark="scaling", points=points)])
    assert [row[0] for row in cells(found["workers"])[2:]] == ["2", "4 (more than cores)"]


def test_a_page_gets_its_tables_and_keeps_the_rest():
    page = "# Title\n\n<!-- table: step -->\nold\n<!-- end -->\n\nprose\n"
    filled = table.filled(page, {"step": "| new |"})
    assert filled == "# Title\n\n<!-- table: step -->\n\n| new |\n\n<!-- end -->\n\nprose\n"
    assert table.filled(filled, {"step": "| new |"}) == filled
    with pytest.raises(BenchmarkError, match="these files have no table 'step' for the page"):
        table.filled(page, {})


def test_the_page_on_performance_shows_the_records():
    page = PAGE.read_text(encoding="utf-8")
    tables = report.sections([command.read(path) for path in RESULTS])
    assert table.filled(page, tables) == page


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"benchmark": "step"}'])
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(BenchmarkError, match=r"other\.json is not a result of a benchmark"):
        command.read(path)


def test_records_name_no_place_on_the_machine_that_made_them():
    for path in RESULTS:
        text = path.read_text(encoding="utf-8")
        assert not [place for place in ("/home/", "/root/", "/tmp/", "/work/") if place in text]
