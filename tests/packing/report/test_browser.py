"""The HTML pages in a browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

import vggq
from tests.helpers import save_npz
from tests.onnx_models import save_split_model
from vggq.packing import Options, pack, sweep
from vggq.packing.report import report_file, report_sweep

from .conftest import MARKUP_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    Visit = Callable[..., Page]

pytestmark = pytest.mark.browser

NAMES = [MARKUP_NAME, "broken", "layer.2.weight", "layer.10.bias", "layer.10.weight", "none"]

# The contrast (WCAG 2.2) of every visible text with its background, the lowest first.
CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255).map(
      (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color.slice(0, 3);
    }
    return [NaN, NaN, NaN];
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !element.getClientRects().length || element.tagName === "SCRIPT") continue;
    const style = getComputedStyle(element);
    const color = parse(element.closest("svg") ? style.fill : style.color).slice(0, 3);
    const [a, b] = [light(color), light(ground(element))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), element.tagName, element.textContent]);
  }
  return found.sort((x, y) => x[0] - y[0]);
}"""


@pytest.fixture(scope="session")
def page_file(source: Path, packed: Path) -> Path:
    target = packed.with_suffix(".html")
    report_file(packed, target, against=source, histograms=4)
    return target


@pytest.fixture(scope="session")
def sweep_file(source: Path) -> Path:
    target = source.with_name("sweep.html")
    variants = list(
        sweep(
            source,
            [*(Options(bits=bits) for bits in (1, 2, 8)), Options(sqnr=20.0), Options(sqnr=10.0)],
            evaluate=lambda state: {"mean": float(np.abs(state["layer.2.weight"]).mean())},
        )
    )
    report_sweep(source, variants, target, {"mean": 0.08})
    return target


@pytest.fixture(scope="session")
def model_page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    source, *_ = save_split_model(folder / "large.onnx")
    packed = pack(source, folder / "large.vggq").target
    target = folder / "large.html"
    report_file(packed, target, against=source, other_settings=False)
    return target


def test_filter_of_tensors_leaves_the_files_of_a_model(visit: Visit, model_page_file: Path) -> None:
    page = visit(model_page_file)
    page.get_by_label("Filter by name").fill("b")
    assert page.locator("#rows tbody tr:visible th").all_inner_texts() == ["b"]
    files = page.get_by_role("table", name="Files").locator("tbody th")
    assert files.all_inner_texts() == ["a", "b", "large.onnx"]
    sizes = page.get_by_role("table", name="Files").locator("tbody td:nth-child(2)")
    numbers = [int(text.replace(",", "")) for text in sizes.all_inner_texts()]
    assert numbers == sorted(numbers, reverse=True)


def test_report_compares_a_file_of_any_goal_with_other_settings(
    tmp_path: Path, source: Path
) -> None:
    goal: Any = {"size": 12_000, "objective": "overall", "importance": {"layer.2.weight": 2.0}}
    packed = pack(source, tmp_path / "s.vggq", **goal).target
    stages: list[str] = []

    def start_stage(name: str) -> Callable[[int, int], None]:
        stages.append(name)
        return lambda *_: None

    report_file(packed, tmp_path / "s.html", against=source, histograms=0, start_stage=start_stage)
    assert stages == ["reading", "packing with other settings", "drawing"]
    text = (tmp_path / "s.html").read_text()
    assert "codebooks of 1 to 8 bits, and a grid at 10, 20, 30, 40 dB" in text


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Open a page; console messages, script errors and network requests fail the test."""
    messages: list[str] = []
    requests: list[str] = []
    contexts = []

    def open_page(path: Path, width: int = 1000, scheme: Any = "light") -> Page:
        size: Any = {"width": width, "height": 800}
        contexts.append(browser.new_context(viewport=size, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert messages == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


def shown(page: Page) -> list[str]:
    """Return the names in the table, in order, without their markers."""
    return page.locator("tbody tr:not(.histograms):visible th").all_inner_texts()


def heading(page: Page, text: str) -> Any:
    return page.get_by_role("columnheader", name=text).get_by_role("button")


def order(page: Page, text: str) -> str | None:
    found: str | None = page.get_by_role("columnheader", name=text).get_attribute("aria-sort")
    return found


def test_page_shows_every_tensor_and_the_size_limit(visit: Visit, page_file: Path) -> None:
    page = visit(page_file)
    assert page.title() == "model.vggq"
    assert page.get_by_role("heading", level=1).inner_text() == "model.vggq"
    assert sorted(shown(page)) == sorted(NAMES)
    assert page.get_by_role("status").inner_text() == "6 of 6 shown"
    name = re.compile("of the index's limit of 100 MiB$")
    assert page.get_by_role("progressbar", name=name).count() == 1


def column_of(page: Page, number: int) -> list[str]:
    """Return the cells of a column of the tensors; their names are in the first."""
    return page.locator(f"#rows td:nth-child({number})").all_inner_texts()


def test_tensors_are_sorted_by_bytes_with_the_largest_first(visit: Visit, page_file: Path) -> None:
    page = visit(page_file)
    assert order(page, "bytes") == "descending"
    sizes = [int(text.replace(",", "")) for text in column_of(page, 2)]
    assert sizes == sorted(sizes, reverse=True)
    heading(page, "bytes").click()
    assert order(page, "bytes") == "ascending"
    assert [int(text.replace(",", "")) for text in column_of(page, 2)] == sizes[::-1]


def test_exact_tensors_have_no_bits_and_stay_last_when_sorted_by_bits(
    visit: Visit, page_file: Path
) -> None:
    page = visit(page_file)
    for _ in range(2):
        heading(page, "bits").click()
        bits, codecs = column_of(page, 6), column_of(page, 5)
        assert [text == "exact" for text in bits] == [codec == "raw" for codec in codecs]
        assert bits[0] != bits[-1] == "exact"
        numbers = [float(text) for text in bits if text != "exact"]
        assert numbers == sorted(numbers, reverse=order(page, "bits") == "descending")


def test_clicking_a_heading_twice_reverses_the_order(visit: Visit, page_file: Path) -> None:
    page = visit(page_file)
    heading(page, "tensor").click()
    assert order(page, "tensor") == "ascending"
    names = shown(page)
    assert names.index("layer.2.weight") < names.index("layer.10.bias")
    heading(page, "bytes").click()
    assert (order(page, "bytes"), order(page, "tensor")) == ("ascending", None)
    sizes = [
        int(text.replace(",", "")) for text in page.locator("td:nth-child(2)").all_inner_texts()
    ]
    assert sizes == sorted(sizes)
    heading(page, "bytes").click()
    assert order(page, "bytes") == "descending"
    assert shown(page)[-1] == "none"
    heading(page, "SQNR").click()
    assert page.locator("td:nth-child(7)").first.inner_text() != "exact"


def test_filter_shows_only_matching_names(visit: Visit, page_file: Path) -> None:
    page = visit(page_file)
    box = page.get_by_role("searchbox", name="Filter by name")
    box.fill("LAYER.10")
    assert sorted(shown(page)) == ["layer.10.bias", "layer.10.weight"]
    assert page.get_by_role("status").inner_text() == "2 of 6 shown"
    heading(page, "bytes").click()
    assert shown(page) == ["layer.10.bias", "layer.10.weight"]
    box.fill("")
    assert sorted(shown(page)) == sorted(NAMES)


def test_clicking_a_name_opens_and_closes_its_histograms(visit: Visit, page_file: Path) -> None:
    page = visit(page_file)
    button = page.get_by_role("button", name="layer.10.weight")
    assert button.get_attribute("aria-expanded") == "false"
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    captions = page.locator(".histograms figcaption").all_inner_texts()
    assert captions[0].startswith("Weights and their 16 centroids: from ")
    assert captions[1].startswith("Quantization errors: from ")
    heading(page, "bytes").click()
    assert button.evaluate("b => b.closest('tr').nextElementSibling.className") == "histograms"
    assert page.locator(".histograms svg:visible").count() == 2
    page.get_by_role("searchbox").fill("layer.2")
    assert page.locator(".histograms:visible").count() == 0
    page.get_by_role("searchbox").fill("")
    button.click()
    assert page.locator(".histograms").count() == 0


def test_histogram_of_a_grid_shows_its_step_size(
    visit: Visit, tmp_path: Path, source: Path, model: dict[str, Any]
) -> None:
    packed = pack(source, tmp_path / "grid.vggq", sqnr=20.0).target
    report_file(packed, tmp_path / "grid.html", against=source, other_settings=False)
    page = visit(tmp_path / "grid.html")
    page.get_by_role("button", name="layer.2.weight").click()
    caption = page.locator(".histograms figcaption").first.inner_text()
    found = re.match(r"Weights and their (\d+) values on a grid of step size ([0-9.]+): ", caption)
    assert found is not None
    values = np.unique(vggq.load(packed)["layer.2.weight"])
    assert int(found[1]) == values.size < model["layer.2.weight"].size
    steps = values / np.diff(values).min()
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    assert float(found[2]) == pytest.approx(np.diff(values).min(), rel=5e-3)


def test_page_works_with_the_keyboard_alone(visit: Visit, page_file: Path) -> None:
    page = visit(page_file)
    page.keyboard.press("Tab")
    focused = page.evaluate("document.activeElement.id")
    assert focused == "filter"
    page.keyboard.type("weight")
    assert sorted(shown(page)) == ["layer.10.weight", "layer.2.weight"]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "region"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert (order(page, "tensor"), shown(page)[0]) == ("ascending", "layer.2.weight")
    page.keyboard.press("Space")
    assert (order(page, "tensor"), shown(page)[0]) == ("descending", "layer.10.weight")
    for _ in range(8):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "layer.10.weight"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    assert page.locator(".histograms svg").count() == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["page_file", "sweep_file"])
def test_contrast_of_every_text_is_at_least_4_5(
    visit: Visit, request: pytest.FixtureRequest, which: str, scheme: str
) -> None:
    page = visit(request.getfixturevalue(which), scheme=scheme)
    for button in page.locator("tbody button").all():
        button.click()
    found = page.evaluate(CONTRAST)
    assert any(tag == "text" for _, tag, _ in found)
    assert [entry for entry in found if not entry[0] >= 4.5] == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") is (scheme == "light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["page_file", "sweep_file", "model_page_file"])
def test_axe_finds_no_accessibility_violations(
    browser: Browser, request: pytest.FixtureRequest, which: str, scheme: Any
) -> None:
    """Check the rules of axe-core, whose script the page's security policy would block."""
    with browser.new_context(color_scheme=scheme, bypass_csp=True) as context:
        page = context.new_page()
        page.goto(request.getfixturevalue(which).as_uri())
        for button in page.locator("tbody button").all():
            button.click()
        found = Axe().run(page).response
    assert [(rule["id"], rule["impact"]) for rule in found["violations"]] == []
    assert {"color-contrast", "label", "button-name"} <= {rule["id"] for rule in found["passes"]}


@pytest.mark.parametrize("width", [400, 900, 1600])
@pytest.mark.parametrize("which", ["page_file", "sweep_file", "model_page_file"])
def test_content_fits_the_width_of_the_page(
    visit: Visit, request: pytest.FixtureRequest, which: str, width: int
) -> None:
    page = visit(request.getfixturevalue(which), width)
    for button in page.locator("tbody button").all():
        button.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    drawn = page.locator("figure:visible svg:visible")
    for box in (svg.bounding_box() for svg in drawn.all()):
        assert box is not None
        assert 200 < box["width"] <= width
        # Histograms stay visible when the table scrolls sideways.
        assert 0 <= box["x"] < box["x"] + box["width"] <= width
    sizes = page.evaluate(
        "[...document.querySelectorAll('svg text')].filter((t) => t.getClientRects().length)"
        ".map((t) => t.getBoundingClientRect()).map((r) => Math.min(r.width, r.height))"
    )
    # Letters have about 8 pixels or more at any width.
    assert max(sizes) >= 9


def test_sweep_page_has_a_row_for_each_setting_and_a_chart_for_each_score(
    visit: Visit, sweep_file: Path
) -> None:
    page = visit(sweep_file)
    assert page.title() == "model.npz, packed with 5 settings"
    assert shown(page) == ["unquantized", "1 bit", "2 bits", "8 bits", "20 dB", "10 dB"]
    headings = page.get_by_role("heading", level=2).all_inner_texts()
    assert headings == ["Size and SQNR", "Size and mean", "Settings"]
    for chart in page.locator("figure .wide").all():
        texts = chart.locator("text").all_text_contents()
        assert {"1 bit", "8 bits", "10 dB", "codebooks", "grid, by SQNR"} <= set(texts)
    # A row without a number stays last.
    for _ in range(2):
        heading(page, "pack s").click()
        assert shown(page)[-1] == "unquantized"


def test_page_of_three_thousand_tensors_stays_small_and_fast(visit: Visit, tmp_path: Path) -> None:
    arrays = {f"layer.{n}.bias": np.full(4, n, np.float32) for n in range(3000)}
    arrays["big.weight"] = np.random.default_rng(0).random((50, 40), np.float32)
    packed = pack(save_npz(tmp_path / "many.npz", arrays), tmp_path / "many.vggq", bits=2).target
    target = tmp_path / "many.html"
    report_file(packed, target, histograms=3)
    assert target.stat().st_size < 2e6
    page = visit(target)
    page.set_default_timeout(5000)
    page.get_by_role("searchbox").fill("9.bias")
    assert page.get_by_role("status").inner_text() == "300 of 3001 shown"
    page.get_by_role("searchbox").fill("")
    heading(page, "bytes").click()
    assert page.locator("tbody th").last.inner_text() == "big.weight"
    heading(page, "bytes").click()
    assert page.locator("tbody th").first.inner_text() == "big.weight"
    assert page.locator("tbody button").count() == 3
