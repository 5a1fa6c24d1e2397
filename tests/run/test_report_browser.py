"""The report in a real browser: it opens without a fault, and selections are linked both ways.

The browser is the one that `PROBCAT_BROWSER` names, or the first found on the path.
"""

import dataclasses
import os
import shutil
from contextlib import contextmanager

import numpy as np
import pytest

from probcat.run.report.contents import read_contents
from probcat.run.report.page import render_page, write_report
from tests.run.report_run import EXTENDED, SHIFT, X, Y, make_run, without_objects

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SIZE = {"width": 1500, "height": 1100}


def find_browser():
    named = os.environ.get("PROBCAT_BROWSER")
    if named:
        return shutil.which(named)
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="module")
def browser():
    path = find_browser()
    if path is None:
        pytest.skip(
            f"no browser: none of {', '.join(BROWSERS)} is on the path; "
            "PROBCAT_BROWSER can name one"
        )
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        # Without a sandbox, since tests may run as root.
        launched = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def report(browser, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        run = make_run(tmp_path_factory.mktemp("run"), patch)
    return write_report(run)


@pytest.fixture
def page(browser, report):
    with opened_page(browser, report) as opened:
        yield opened


@contextmanager
def opened_page(browser, path):
    """The page, drawn; at the end it must not have complained or asked the network."""
    opened = browser.new_page(viewport=SIZE)
    faults, asked = [], []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on(
        "console",
        lambda said: faults.append(said.text) if said.type in ("error", "warning") else None,
    )
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(path.as_uri())
    opened.wait_for_function("probcat.ready", timeout=30_000)
    yield opened
    opened.close()
    assert faults == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def screen_place(page, x, y, side="left"):
    """Where on the screen an image's pixel is drawn."""
    return page.evaluate(
        """([x, y, side]) => {
          const plot = probcat.models[side + "_plot"];
          const view = Bokeh.index.find_one_by_id(plot.id);
          const box = view.el.getBoundingClientRect();
          const frame = view.frame;
          return [
            box.left + frame.x_scale.compute(x), box.top + frame.y_scale.compute(y),
          ];
        }""",
        [float(x), float(y), side],
    )


def click_image(page, x, y, side="left"):
    page.mouse.click(*screen_place(page, x, y, side))


def chosen_object(page):
    return int(page.locator("#chosen-id").inner_text())


def wait_until_chosen(page, object_id):
    page.wait_for_function(
        "id => document.getElementById('chosen-id').textContent == id", arg=str(object_id)
    )


def table_row(page, object_id):
    cell = page.locator(".slick-row .slick-cell.l0", has_text=str(object_id))
    return cell.first


def chosen_rows(page):
    """Ids of the rows that the table shows as selected."""
    return page.locator(".slick-row .slick-cell.l0.selected").all_inner_texts()


def test_row_selects_the_object_on_the_image(page):
    for object_id in (3, 2):
        table_row(page, object_id).click()
        page.wait_for_function(
            "id => document.getElementById('chosen-id').textContent == id", arg=str(object_id)
        )
        mark = page.evaluate("probcat.models.chosen.data")
        assert abs(mark["x"][0] - X[object_id - 1]) < 0.1
        assert abs(mark["y"][0] - Y[object_id - 1]) < 0.1
        box = page.evaluate(
            "(({x, y, dw, dh}) => [x[0], y[0], dw[0], dh[0]])(probcat.models.map_source.data)"
        )
        assert box[0] < X[object_id - 1] < box[0] + box[2]
        assert box[1] < Y[object_id - 1] < box[1] + box[3]


@pytest.mark.parametrize("side", ["left", "right"])
def test_click_on_the_image_selects_the_row(page, side):
    for object_id in (3, 1):
        # Apart from the last one, lest the two make a double click.
        page.wait_for_timeout(500)
        click_image(page, X[object_id - 1], Y[object_id - 1], side)
        page.wait_for_function(
            "id => document.getElementById('chosen-id').textContent == id", arg=str(object_id)
        )
        page.wait_for_timeout(100)
        assert chosen_rows(page) == [str(object_id)]


def test_posterior_neighbours_and_chains_of_the_chosen_are_shown(page):
    click_image(page, X[1], Y[1])
    wait_until_chosen(page, 2)
    text = page.locator("#facts").inner_text()
    assert "galaxy 1.00" in text
    # Six properties but the flux of the other band: dots of 6 * 5 / 2 panels and more.
    drawn = page.evaluate(
        "[probcat.models.corner_dots.data.x.length, probcat.models.corner_text.data.text]"
    )
    assert drawn[0] == 80 * 7 * 6 / 2
    assert {"x", "y", "flux", "r half"} <= set(drawn[1])
    near = page.locator("#near tr[data-row]").first
    assert near.inner_text().split()[0] == "1"
    near.click()
    assert chosen_object(page) == 1
    # A faint one that one chain of two holds.
    page.evaluate("probcat.find('4')")
    assert "the chains disagree" in page.locator("#facts").inner_text()


def test_alternatives_and_flags_of_the_chosen_are_shown(browser, report, tmp_path):
    contents = read_contents(report.parent)
    table = contents.table.copy()
    table["flags"], table["alternative_group"] = [0, 6, 8, 0], [2, 2, 0, 0]
    table.meta |= {"FLAG1": "MASKED", "FLAG2": "<SATURATED>"}
    alternatives = {2: [(0.9, "1 2"), (0.1, "")]}
    changed = dataclasses.replace(contents, table=table, alternatives=alternatives)
    path = tmp_path / "flags.html"
    path.write_text(render_page(changed))
    with opened_page(browser, path) as opened:
        opened.evaluate("probcat.choose(1)")
        assert "MASKED, <SATURATED>" in opened.locator("#facts").inner_text()
        shown = opened.locator("#alternatives tr").all_inner_texts()
        assert [line.split() for line in shown[1:]] == [
            ["0.90", "1", "2"],
            ["0.10", "none", "of", "them"],
        ]
        opened.evaluate("probcat.choose(2)")
        assert opened.locator("#alternatives").count() == 0


def test_layers_images_and_traces_can_be_switched(page):
    shown = "probcat.layers.filter((layer) => probcat.models['left_' + layer].visible)"
    assert page.evaluate(shown) == ["data"]
    page.get_by_role("button", name="Residual").first.click()
    page.wait_for_function(f"({shown}).join() == 'residual'")
    before = page.evaluate("probcat.pixels.data[500]")
    page.locator("select").first.select_option(label="r")
    page.wait_for_function("probcat.image == 1")
    assert page.evaluate("probcat.pixels.data[500]") != before
    marks = np.array(
        page.evaluate("[probcat.models.markers.data.x, probcat.models.markers.data.y]")
    )
    np.testing.assert_allclose(marks, np.array([X, Y]) + np.array(SHIFT)[:, None], atol=0.1)
    page.locator("#diagnostics tr[data-name=total_flux]").click()
    assert page.evaluate("probcat.models.first_choice.value") == "total_flux"
    assert page.evaluate("probcat.models.first_trace.data.y.length") == 2


def test_zoom_is_shared_and_follows_the_sky_to_another_image(page):
    page.evaluate("probcat.setView(17, 17, 6, 6)")
    ranges = "[probcat.models.x_range.start, probcat.models.x_range.end]"
    start, end = page.evaluate(ranges)
    assert page.evaluate("probcat.models.left_plot.x_range === probcat.models.right_plot.x_range")
    page.evaluate("probcat.models.image_choice.value = '1'")
    moved = page.evaluate(ranges)
    np.testing.assert_allclose(moved, np.array([start, end]) + SHIFT[0], atol=1e-3)


def test_pointer_reads_position_values_and_owners(page):
    page.mouse.move(*screen_place(page, X[0], Y[0]))
    page.wait_for_function("document.getElementById('readout').textContent.includes('light of')")
    text = page.locator("#readout").inner_text()
    assert "x 12.0  y 15.0" in text
    assert "ra 149.9999" in text or "ra 150.0" in text
    assert "light of 1 (" in text


def test_least_probability_filters_table_and_outlines(page):
    assert EXTENDED.size == page.evaluate("probcat.models.markers.data.x.length")
    page.evaluate("probcat.filter(0.6)")
    assert page.evaluate("probcat.models.markers.data.x.length") == 3
    assert page.locator("#count").inner_text() == "3 of 4 objects are shown."
    page.wait_for_function(
        "document.querySelector('#count') && probcat.models.table_filter.booleans[3] === false"
    )


def test_a_run_without_objects_opens(browser, report, tmp_path):
    path = tmp_path / "empty.html"
    path.write_text(render_page(without_objects(read_contents(report.parent))))
    with opened_page(browser, path) as opened:
        assert opened.locator("#count").inner_text() == "0 of 0 objects are shown."
        opened.mouse.click(*screen_place(opened, 20, 20))
        assert opened.locator("#chosen-id").count() == 0
        assert len(opened.evaluate("probcat.models.data_source.data.image")) == 1
