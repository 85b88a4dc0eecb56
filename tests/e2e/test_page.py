"""The page in a browser: Chromium, driven by Playwright."""

import itertools
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Dialog,
    Page,
    Route,
    expect,
    sync_playwright,
)

from tests.cutter import cutting
from tests.harness import AUTHORIZATION, SECRET, Rtot, needs, until

pytestmark = needs("chromium")
Start = Callable[..., Rtot]
Open = Callable[..., Page]
# Without these it looks for hosts that a closed network does not have.
_FLAGS = [
    *("--no-sandbox", "--disable-quic", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=_FLAGS,
            # As users have it: what comes and goes with a scrollbar is seen.
            ignore_default_args=["--hide-scrollbars"],
        )
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    yield context
    context.close()


@pytest.fixture
def visit(context: BrowserContext) -> Iterator[Open]:
    """Open the page of a server, signed in. Nothing in it may go wrong."""
    wrong: list[str] = []
    expected: list[str] = []

    def open_page(
        url: str, hash: str = "#/", secret: str = SECRET, *, failing: str | None = None
    ) -> Page:
        expected.extend([failing] if failing else [])
        page = context.new_page()
        page.on(
            "console",
            lambda message: wrong.append(message.text) if message.type == "error" else None,
        )
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{url}/{hash}")
        page.fill("#secret", secret)
        page.press("#secret", "Enter")
        expect(page.locator("#sign-in")).not_to_be_visible()
        expect(page.locator("#live")).to_have_text("● live")
        return page

    yield open_page
    # Chromium itself tells of each request that fails.
    assert [text for text in wrong if not any(failing in text for failing in expected)] == []


def shown(page: Page) -> list[str]:
    """The text of the lines in sight."""
    return page.locator("#lines pre").all_inner_texts()


def test_curl_gets_the_links_and_a_browser_the_page(rtot: Rtot) -> None:
    assert "links" in rtot.json(f"{rtot.url}/")
    page = rtot.curl("-H", "Accept: text/html", "-i", f"{rtot.url}/")
    assert b"Vary: Accept" in page
    assert b"<!doctype html>" in page
    assert sum(len(path.read_bytes()) for path in FILES) < 60 * 1024


FILES = list((Path(__file__).parents[2] / "rtot" / "page").iterdir())


def test_a_wrong_secret_is_tried_once(context: BrowserContext, rtot: Rtot) -> None:
    page = context.new_page()
    page.goto(rtot.url)
    page.fill("#secret", "wrong")
    page.press("#secret", "Enter")
    expect(page.locator("#why")).to_have_text("This secret is not accepted.")
    time.sleep(1)
    assert rtot.log.count("status=401") == 1
    page.fill("#secret", SECRET)
    page.press("#secret", "Enter")
    expect(page.locator("#live")).to_have_text("● live")
    page.click("#forget")
    expect(page.locator("#sign-in")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_submit_watch_kill_and_again(start: Start, tmp_path: Path, visit: Open) -> None:
    rtot = start(f"--state={tmp_path}/state")
    page = visit(rtot.url, failing="status of 400")
    page.click("#run")
    page.fill("#script", "echo hello $1; echo bad >&2; for i in 1 2 3; do sleep 99; done")
    page.fill("#arg", "you")
    page.fill("#labels", "nightly")
    page.press("#script", "Control+Enter")
    expect(page.locator("#lines pre")).to_have_text(["hello you", "bad"])
    expect(page.locator("#lines .err pre")).to_have_text(["bad"])
    expect(page.locator("#outcome")).to_contain_text("running")
    page.click("#processes")
    expect(page.locator("#text")).to_contain_text("sleep 99")
    page.click("#told button")
    page.click("#kill")
    expect(page.locator("#status")).to_contain_text(re.compile(r"TERM to .*sleep \(\d+\)"))
    expect(page.locator("#outcome")).to_contain_text("✗ killed")
    assert page.title().startswith("✗ #0 ")
    page.click("#again")
    expect(page.locator("#submit")).to_be_visible()
    expect(page.locator("#script")).to_have_value(re.compile("echo hello"))
    page.press("#script", "Control+A")
    page.keyboard.type("exit 3")
    page.click("#go")
    expect(page.locator("#outcome")).to_contain_text("✗ exit status 3")
    job = rtot.json("/jobs/1?fields=arg,label")["jobs"][0]
    assert (job["arg"], job["label"]) == (["you"], ["nightly"])
    page.click("#run")
    page.click("#go")
    expect(page.locator("#refused")).to_contain_text("empty script")


def test_filters_and_many_at_once(rtot: Rtot, visit: Open) -> None:
    for i in range(6):
        rtot.run(f"exit {i % 2} # job {i}".encode(), f"&label={'odd' if i % 2 else 'even'}")
    page = visit(rtot.url)
    expect(page.locator(".row")).to_have_count(6)
    page.check("[name=failed]")
    expect(page.locator(".row")).to_have_count(3)
    page.uncheck("[name=failed]")
    page.fill("[name=label]", "even")
    expect(page.locator(".row")).to_have_count(3)
    page.fill("[name=text]", "job 4")
    expect(page.locator(".row")).to_have_count(1)
    assert page.url.endswith("#/?text=job+4&label=even")
    page.fill("[name=text]", "")
    svg = page.locator("#timeline").bounding_box()
    assert svg is not None
    # Of the last hour the first half: nothing ran then.
    for action, x in ((page.mouse.move, 10), (page.mouse.move, svg["width"] / 2)):
        action(svg["x"] + x, svg["y"] + 20)
        (page.mouse.down if x == 10 else page.mouse.up)()
    expect(page.locator(".row")).to_have_count(0)
    assert "from=" in page.url
    page.mouse.click(svg["x"] + 20, svg["y"] + 20)
    expect(page.locator(".row")).to_have_count(3)
    for job_id in (0, 2):
        page.get_by_label(f"Choose job {job_id}", exact=True).check()
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept()

    page.click("#all")
    expect(page.locator("#chosen")).to_have_text("3 chosen")
    page.get_by_label("Choose job 4", exact=True).uncheck()
    page.once("dialog", answer)
    page.click("#bulk-delete")
    expect(page.locator(".row")).to_have_count(1)
    assert asked == ["End and forget the 2 chosen?"]
    page.reload()
    expect(page.locator(".row")).to_have_count(1)
    rtot.run(b"exit 0 # a new one", "&label=even")
    expect(page.locator(".row")).to_have_count(2)


def test_what_a_role_may_not_do_is_not_offered(start: Start, tmp_path: Path, visit: Open) -> None:
    (tmp_path / "secrets").write_text("watcher read\nsup\n")
    (tmp_path / "secrets").chmod(0o600)
    rtot = start(f"--secret-file={tmp_path}/secrets", RTOT_SECRET="")
    rtot.submit(b"exec sleep 99")
    page = visit(rtot.url, "#/0", secret="watcher")
    expect(page.locator("#job h1")).to_contain_text("sleep 99")
    for name in ("#run", "#kill", "#again", "#delete"):
        expect(page.locator(name)).not_to_be_visible()


LINES = 1_000_000
# Of what is shown while the log comes and is searched: the longest time between two frames.
_WATCH = """
window.longest = 0;
let last = performance.now();
const look = (now) => {
  window.longest = Math.max(window.longest, now - last);
  last = now;
  requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""


def test_a_million_lines(rtot: Rtot, visit: Open) -> None:
    job_id = rtot.submit(f"seq 1 {LINES} | sed 's/^/line /; s/$/ of a long log/'".encode())
    rtot.json(f"/jobs/{job_id}?wait=60")
    page = visit(rtot.url)
    page.evaluate(_WATCH)
    page.evaluate(f"location.hash = '#/{job_id}'")
    expect(page.locator("#lines pre").first).to_have_text("line 1 of a long log")
    expect(page.locator("#space")).to_have_css("height", "1.5e+07px", timeout=60_000)
    page.click("#end")
    expect(page.locator("#lines pre").last).to_have_text(
        f"line {LINES} of a long log", timeout=60_000
    )
    page.fill("#search", "77777")
    expected = sum("77777" in f"line {i} of a long log" for i in range(1, LINES + 1))
    expect(page.locator("#hits")).to_have_text(f"{expected:,}", timeout=60_000)
    page.evaluate("location.hash = '#/' + location.hash.split('/')[1] + '/L500000'")
    expect(page.locator("#lines .chosen pre")).to_have_text("line 500000 of a long log")
    longest = page.evaluate("window.longest")
    assert page.evaluate("document.querySelectorAll('*').length") < 500
    print(f"the longest time between two frames: {longest:.0f} ms")
    assert longest < 100 * PATIENCE, longest


# The machines are shared, and a frame waits for its turn there.
PATIENCE = 5


def test_scrolling_up_stays_where_it_is(rtot: Rtot, visit: Open) -> None:
    job_id = rtot.submit(b"seq 1 500; while :; do echo more; sleep 0.02; done")
    page = visit(rtot.url, f"#/{job_id}")
    expect(page.locator("#lines pre").last).to_have_text("more")
    page.locator("#log").hover()
    page.mouse.wheel(0, -3000)
    expect(page.locator("#pill")).to_contain_text("new lines")
    before = shown(page)
    at = page.evaluate("document.getElementById('log').scrollTop")
    said = page.locator("#pill").inner_text()
    expect(page.locator("#pill")).not_to_have_text(said)
    assert page.evaluate("document.getElementById('log').scrollTop") == at
    assert shown(page) == before
    page.keyboard.press("End")
    expect(page.locator("#pill")).not_to_be_visible()
    expect(page.locator("#lines pre").last).to_have_text("more")


STRANGE = [
    ("<script>alert(1)</script><img src=x onerror=alert(1)>", None),
    ("javascript:alert(1) &lt; &amp; {{7*7}} ${7*7}", None),
    ("\u202eevil\u2066", "\\u202eevil\\u2066"),
    ("\x07bell\x00", "\\u0007bell\\u0000"),
    ("half\rwhole", "whole"),
    ("windows\r", "windows"),
    ("\x1b[31mred \x1b[1;38;5;200mpink", "red pink"),
    ("still pink\x1b[0m plain \x1b[38;2;1;2;3mtrue", "still pink plain true"),
    (
        "\x1b]8;;https://example.org/a\x1b\\here\x1b]8;;\x07 see https://example.org/b.",
        "here see https://example.org/b.",
    ),
    ("\x1b[2J\x1b]0;title\x07\x1b[5Acleared", "cleared"),
    ("\U0001f600 gr\u00fc\u00df", None),
]


def test_strange_output(rtot: Rtot, visit: Open, tmp_path: Path) -> None:
    text = "".join(f"{line}\n" for line, _ in STRANGE) + "x" * 20_000 + "\n"
    (tmp_path / "text").write_bytes(text.encode())
    # Split in the midst of a character.
    (tmp_path / "head").write_bytes(text.encode()[: text.encode().index(b"\x9f\x98\x80")])
    (tmp_path / "rest").write_bytes(text.encode()[text.encode().index(b"\x9f\x98\x80") :])
    script = f"# <img src=x onerror=alert(1)>\ncat {tmp_path}/head; sleep 0.3; cat {tmp_path}/rest"
    job_id = rtot.submit(script.encode(), "label=%3Cb%3Ex%3C/b%3E")
    page = visit(rtot.url, f"#/{job_id}")
    wanted = [line if plain is None else plain for line, plain in STRANGE]
    expect(page.locator("#lines pre")).to_have_text([*wanted, re.compile("show all 20,000 bytes")])
    assert page.locator("#lines img, #lines script, #rows img, #rows b").count() == 0
    links = page.locator("#lines pre a")
    assert [a.get_attribute("href") for a in links.all()] == [
        "https://example.org/a",
        "https://example.org/b",
    ]
    assert {a.get_attribute("rel") for a in links.all()} == {"noopener noreferrer"}
    pink = page.locator("#lines pre span", has_text="still pink")
    assert pink.evaluate("e => e.style.color") == "rgb(255, 0, 215)"
    page.get_by_text("show all").click()
    expect(page.locator("#lines pre").last).to_have_text("x" * 20_000)


_BOTTOM = "(element) => element.getBoundingClientRect().bottom"


def test_wrapped_lines(rtot: Rtot, visit: Open) -> None:
    words = "$(seq -s ' ' 1 1900)"
    job_id = rtot.submit(f'seq 1 50; echo "{words}"; seq 1 50; printf "漢%.0s" $(seq 900)'.encode())
    page = visit(rtot.url, f"#/{job_id}")
    expect(page.locator("#lines pre").first).to_have_text("1")
    page.check("#wrap")
    page.locator("#log").hover()
    tops = []
    for _ in range(40):
        page.mouse.wheel(0, 60)
        page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")
        long = page.locator("#lines pre", has_text="1898 1899 1900")
        if long.count():
            tops.append(long.evaluate("(e) => e.getBoundingClientRect().top"))
    # It is scrolled through, step by step, though it is higher than many screens.
    steps = [before - after for before, after in itertools.pairwise(tops)]
    assert len(steps) > 20
    assert all(59 <= step <= 61 for step in steps), steps
    page.click("#end")
    last = page.locator("#lines pre", has_text="漢漢漢")
    expect(last).to_be_visible()
    # Characters of two columns and three bytes: how high it is shows when it is drawn.
    box = page.locator("#log")
    until(lambda: abs(last.evaluate(_BOTTOM) - box.evaluate(_BOTTOM)) < 20)
    page.uncheck("#wrap")
    expect(last).to_be_visible()


def test_lines_of_megabytes(rtot: Rtot, visit: Open) -> None:
    script = "head -c 1000000 /dev/zero | tr '\\0' x; echo; head -c 3000000 /dev/zero | tr '\\0' y"
    job_id = rtot.submit(
        f"{script}; echo yneedle; for i in 1 2 3; do printf '%s\\r' $i; done".encode()
    )
    page = visit(rtot.url, f"#/{job_id}")
    pre = page.locator("#lines pre")
    expect(pre.nth(0)).to_contain_text("xshow all 1,000,000 bytes")
    expect(pre.nth(1)).to_contain_text("yshow 1,048,576 of 3,000,007 bytes")
    expect(pre.nth(2)).to_have_text("3")
    page.fill("#search", "needle")
    expect(page.locator("#hits")).to_have_text("1")
    pre.nth(0).locator("button").click()
    until(lambda: pre.nth(0).evaluate("(e) => e.textContent.length") == 1_000_000)
    pre.nth(1).locator("button").click()
    until(lambda: pre.nth(1).evaluate("(e) => e.textContent.length") == 1 << 20)


def test_what_was_let_go_is_fetched_again(rtot: Rtot, visit: Open) -> None:
    job_id = rtot.submit(
        b"yes 'a line of a log that is larger than what is held' | head -n 1400000 | nl"
    )
    rtot.json(f"/jobs/{job_id}?wait=60")
    page = visit(rtot.url, f"#/{job_id}")
    until(lambda: page.evaluate(_COUNT) == 1_400_000)
    held = page.evaluate("import('/page/log.js').then(({ lines }) => lines.blocks.size)")
    assert held == 256
    page.click("#end")
    expect(page.locator("#lines pre").last).to_contain_text("1400000\ta line of a log")
    page.click("#top")
    expect(page.locator("#lines pre").first).to_contain_text("1\ta line of a log")
    page.fill("#search", "\t")
    expect(page.locator("#hits")).to_have_text("1,400,000", timeout=60_000)


def test_output_that_was_dropped_is_told(start: Start, visit: Open) -> None:
    rtot = start("--max-output=1K")
    job_id = rtot.submit(b"seq 1 10000")
    page = visit(rtot.url, f"#/{job_id}")
    expect(page.locator("#outcome")).to_contain_text("ok, output was dropped")


def test_a_hidden_tab_reads_no_log(rtot: Rtot, context: BrowserContext, visit: Open) -> None:
    # Half a minute is half a second here.
    context.add_init_script(
        "const later = setTimeout;"
        "window.setTimeout = (action, ms) => later(action, ms === 30_000 ? 500 : ms);"
    )
    job_id = rtot.submit(b"for i in $(seq 400); do echo $i; sleep 0.01; done; exec sleep 99")
    page = visit(rtot.url, f"#/{job_id}")
    expect(page.locator("#lines pre").last).to_be_visible()
    page.evaluate(_HIDE, True)
    # A request is logged when its answer is over.
    until(lambda: "/events?" in rtot.log)
    before = page.evaluate(_COUNT)
    until(lambda: rtot.curl(f"{rtot.url}/jobs/{job_id}/out").endswith(b"400\n"))
    assert page.evaluate(_COUNT) == before < 400
    page.evaluate(_HIDE, False)
    expect(page.locator("#space")).to_have_css("height", f"{400 * 18}px")
    assert page.evaluate(_TEXTS) == [str(i) for i in range(1, 401)]


_COUNT = "import('/page/log.js').then(({ lines }) => lines.count)"
_TEXTS = """
import('/page/log.js').then(({ lines }) =>
  Array.from({ length: lines.count }, (_, i) => lines.text(i)))
"""
_HIDE = """
(hidden) => {
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event('visibilitychange'));
}
"""


def test_groups_are_folded(rtot: Rtot, visit: Open) -> None:
    lines = ["::group::first", "one", "::endgroup::", "::group::second", "::error::two"]
    lines += ["::endgroup::", "::group::third", "three", "::endgroup::", "end"]
    job_id = rtot.submit(f"printf '%s\\n' {' '.join(lines)}".encode())
    page = visit(rtot.url, f"#/{job_id}")
    wanted = ["▸ first", "▾ second", "::error::two", "▾ third", "three", "end"]
    expect(page.locator("#lines pre")).to_have_text(wanted)
    page.locator("#lines button").first.click()
    expect(page.locator("#lines pre").nth(1)).to_have_text("one")


def test_groups_that_come_one_by_one(rtot: Rtot, visit: Open) -> None:
    script = "for i in 1 2 3; do echo ::group::$i; echo in $i; echo ::endgroup::; sleep 0.2; done"
    job_id = rtot.submit(f"{script}; exec sleep 99".encode())
    page = visit(rtot.url, f"#/{job_id}")
    expect(page.locator("#lines pre")).to_have_text(["▸ 1", "▸ 2", "▾ 3", "in 3"])


def test_hits_beside_a_line_that_has_no_end(rtot: Rtot, visit: Open) -> None:
    job_id = rtot.submit(b"printf 'a hit? '; echo hit >&2; echo hit hit >&2; sleep 1")
    page = visit(rtot.url, f"#/{job_id}")
    page.fill("#search", "hit")
    expect(page.locator("#hits")).to_have_text("4")
    expect(page.locator("#outcome")).to_contain_text("ok")


def test_two_tabs_that_know_more_and_less(rtot: Rtot, context: BrowserContext, visit: Open) -> None:
    first = visit(rtot.url)
    for _ in range(3):
        rtot.run(b"true")
    second = visit(rtot.url)
    for page in (first, second):
        expect(page.locator(".row.complete")).to_have_count(3)
    second.close()
    rtot.run(b"true")
    expect(first.locator(".row.complete")).to_have_count(4)


def test_signing_in_again(rtot: Rtot, visit: Open) -> None:
    rtot.run(b"echo once")
    page = visit(rtot.url, "#/0")
    expect(page.locator("#lines pre")).to_have_text(["once"])
    page.click("#forget")
    expect(page.locator(".row")).to_have_count(0)
    page.fill("#secret", SECRET)
    page.press("#secret", "Enter")
    expect(page.locator("#lines pre")).to_have_text(["once"])


def test_a_stream_that_is_cut(rtot: Rtot, visit: Open) -> None:
    script = "for i in $(seq 1 3000); do echo $i; echo e$i >&2"
    job_id = rtot.submit(f"{script}; [ $((i % 100)) != 0 ] || sleep 0.1; done".encode())
    with cutting(rtot.address, 1e9, seed=3) as cutter:
        page = visit(cutter.url, failing="net::ERR_")
        # What the page itself is made of is loaded: nothing asks for that again.
        cutter.longest = 0.5
        page.evaluate(f"location.hash = '#/{job_id}'")
        expect(page.locator("#outcome")).to_contain_text("ok", timeout=60_000)
        expect(page.locator("#space")).to_have_css("height", f"{6000 * 18}px")
        for stream, sign in (("out", ""), ("err", "e")):
            page.select_option("[name=stream]", stream)
            page.click("#top")
            expect(page.locator("#lines pre").first).to_have_text(f"{sign}1")
            expect(page.locator("#space")).to_have_css("height", f"{3000 * 18}px")
            page.click("#end")
            expect(page.locator("#lines pre").last).to_have_text(f"{sign}3000")
        assert cutter.cuts > 3


def test_eight_tabs(rtot: Rtot, context: BrowserContext, visit: Open) -> None:
    job_id = rtot.submit(b"while :; do echo x; sleep 0.1; done")
    pages = [visit(rtot.url, f"#/{job_id}") for _ in range(8)]
    for page in pages:
        page.bring_to_front()
        expect(page.locator("#lines pre").first).to_have_text("x")
    begin = time.monotonic()
    answer = pages[0].evaluate("fetch('/ping').then((a) => a.status)")
    assert (answer, time.monotonic() - begin < 5) == (200, True)
    # One poll for all of them.
    rtot.run(b"echo done")
    for page in pages:
        expect(page.locator(".row")).to_have_count(2)


# On https it would be in the clipboard; a page at localhost has one, too.
_COPIED = """
(() => {
  const tell = async (text) => { window.copied = text; };
  if (navigator.clipboard) navigator.clipboard.writeText = tell;
  document.addEventListener('copy', () => tell(document.activeElement.value));
})()
"""


def test_copying_on_plain_http(start: Start, context: BrowserContext, visit: Open) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        address = probe.getsockname()[0]
    rtot = start("-a=127.0.0.1:0", f"-a={address}:0")
    (port,) = re.findall(rf'address="{re.escape(address)}:(\d+)"', rtot.log)
    job_id = rtot.submit(b"echo one; echo two; echo three")
    page = visit(f"http://{address}:{port}", f"#/{job_id}")
    assert not page.evaluate("isSecureContext")
    page.locator(".line a").nth(1).click()
    page.locator(".line a").nth(2).click(modifiers=["Shift"])
    assert page.url.endswith(f"#/{job_id}/L2-3")
    # What is chosen when the browser copies: headless, it has no clipboard to look into.
    page.evaluate(_COPIED)
    page.click("#copy-lines")
    expect(page.locator("#status")).to_have_text("Copied: the lines")
    assert page.evaluate("window.copied") == "two\nthree\n"
    page.click("#copy-rtot")
    expect(page.locator("#status")).to_have_text("Copied: rtot run")


def test_with_the_keyboard_alone(rtot: Rtot, visit: Open) -> None:
    for i in range(3):
        rtot.run(f"seq 1 300; echo job {i}".encode())
    page = visit(rtot.url)
    page.keyboard.press("j")
    expect(page.locator("#job h1")).to_contain_text("#2")
    page.keyboard.press("j")
    expect(page.locator("#job h1")).to_contain_text("#1")
    page.keyboard.press("G")
    expect(page.locator("#lines pre").last).to_have_text("job 1")
    page.keyboard.press("g")
    expect(page.locator("#lines pre").first).to_have_text("1")
    page.keyboard.press("/")
    page.keyboard.type("299")
    expect(page.locator("#hits")).to_have_text("1")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    expect(page.locator("#lines .hit pre")).to_have_text("299")
    page.keyboard.press("t")
    expect(page.locator("#lines time").first).to_be_visible()
    page.keyboard.press("?")
    expect(page.locator("#told")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#told")).not_to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_pictures(browser: Browser, rtot: Rtot, tmp_path: Path, scheme: str, width: int) -> None:
    """Taken to be looked at; that nothing sticks out is all that is judged here."""
    rtot.run(b"echo \x1b[32mgood\x1b[0m; echo bad >&2; exit 3", "&label=nightly")
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 700})  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(rtot.url)
    page.fill("#secret", SECRET)
    page.press("#secret", "Enter")
    expect(page.locator(".row")).to_have_count(1)
    page.screenshot(path=str(tmp_path / "list.png"))
    page.locator(".row .title").click()
    expect(page.locator("#lines pre")).to_have_text(["good", "bad"])
    expect(page.locator("#list")).to_be_visible(visible=width > 720)
    page.screenshot(path=str(tmp_path / "job.png"))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def submit_hundreds(rtot: Rtot, hundreds: int, query: str = "") -> None:
    head = f"POST /jobs?fields={query} HTTP/1.1\r\nHost: a\r\n{AUTHORIZATION}"
    body = f"{head}\r\nContent-Length: 4\r\n\r\ntrue".encode()
    with socket.create_connection(rtot.address) as sock:
        for _ in range(hundreds):
            sock.sendall(body * 100)
            count = 0
            while count < 100:
                count += sock.recv(1 << 20).count(b"HTTP/1.1 201")


def test_ten_thousand_jobs(start: Start, tmp_path: Path, visit: Open) -> None:
    rtot = start("--max-running=1")
    first = rtot.submit(b"exec sleep 99")
    rtot.curl("-X", "POST", f"{rtot.url}/queue/pause")
    submit_hundreds(rtot, 100, "&label=mass")
    page = visit(rtot.url)
    rows = page.locator("#rows")
    expect(page.get_by_label("Choose job 10000", exact=True)).to_be_visible()

    def reached() -> bool:
        rows.evaluate("e => e.scrollTop = e.scrollHeight")
        return page.get_by_label(f"Choose job {first}", exact=True).count() > 0

    until(reached, "the first job")
    expect(page.get_by_label(f"Choose job {first}", exact=True)).to_be_visible()
    assert page.locator(".row").count() < 60
    submit_hundreds(rtot, 3)
    # More than the server remembers one by one.
    rtot.curl("-X", "DELETE", f"{rtot.url}/jobs?label=mass")
    expect(page.locator("#rows-space")).to_have_css("height", f"{28 * 301}px")
    rows.evaluate("e => e.scrollTop = 0")
    expect(page.get_by_label("Choose job 10300", exact=True)).to_be_visible()


def test_nothing_flickers(rtot: Rtot, visit: Open) -> None:
    long = "printf 'a\\033[31mb\\033[0mc%.0s' $(seq 400)"
    job_id = rtot.submit(f"for i in $(seq 60); do echo $i; done; {long}; echo; {long}".encode())
    page = visit(rtot.url, f"#/{job_id}")
    expect(page.locator("#lines pre").first).to_have_text("1")
    changes = """
    (element) => new Promise((done) => {
      let count = 0;
      const watch = { attributes: true, attributeFilter: ['style', 'class'], subtree: true };
      new MutationObserver((found) => (count += found.length)).observe(element, watch);
      setTimeout(() => done(count), 1000);
    })
    """
    log = page.locator("#log")
    for wrap in (False, True):
        page.locator("#wrap").set_checked(wrap)
        page.click("#end")
        expect(page.locator("#lines pre").last).to_contain_text("abcabc")
        page.wait_for_timeout(200)
        assert log.evaluate(changes) < 10
        assert log.evaluate("e => e.classList.contains('wrap')") is wrap


def test_only_hits_of_a_job_that_has_none_asked_for(rtot: Rtot, visit: Open) -> None:
    for name in ("one", "two"):
        rtot.run(f"seq 20; echo {name}".encode())
    page = visit(rtot.url, "#/0")
    page.fill("#search", "1")
    page.check("[name=only]")
    expect(page.locator("#lines pre")).to_have_count(11)
    page.evaluate(_COPIED)
    page.click("#copy-lines")
    hits = [str(i) for i in range(1, 21) if "1" in str(i)]
    until(lambda: page.evaluate("window.copied") == "".join(f"{hit}\n" for hit in hits))
    page.evaluate("location.hash = '#/1'")
    expect(page.locator("#lines pre")).to_have_count(21)


def test_a_click_while_the_list_changes(rtot: Rtot, visit: Open) -> None:
    job_id = rtot.submit(b"exec sleep 99")
    page = visit(rtot.url)
    page.locator(".row .title").hover()
    page.mouse.down()
    rtot.curl("-X", "POST", f"{rtot.url}/jobs/{job_id}/kill")
    expect(page.locator(".row.failed")).to_have_count(1)
    page.mouse.up()
    expect(page.locator("#job h1")).to_contain_text("#0 ")


def test_a_list_that_could_not_be_read(rtot: Rtot, context: BrowserContext) -> None:
    rtot.run(b"true")
    page = context.new_page()
    failed: list[str] = []

    def once(route: Route) -> None:
        if failed:
            route.continue_()
        else:
            failed.append(route.request.url)
            route.abort()

    page.route("**/jobs?order=desc*", once)
    page.goto(rtot.url)
    page.fill("#secret", SECRET)
    page.press("#secret", "Enter")
    expect(page.locator(".row")).to_have_count(1)
    expect(page.locator("#live")).to_have_text("● live")
    assert failed


def test_the_run_dialog_with_enter(rtot: Rtot, visit: Open) -> None:
    page = visit(rtot.url, failing="status of 400")
    page.click("#run")
    page.press("#labels", "Enter")
    expect(page.locator("#refused")).to_contain_text("empty script")
    page.fill("#script", "echo $1")
    page.fill("#arg", "-d")
    page.press("#labels", "Enter")
    expect(page.locator("#lines pre")).to_have_text(["-d"])
    page.evaluate(_COPIED)
    page.click("#copy-rtot")
    until(lambda: page.evaluate("window.copied") == "rtot run -c '…' -- -d")


def test_what_a_dialog_keeps_away(rtot: Rtot, visit: Open) -> None:
    rtot.run(b"true")
    page = visit(rtot.url, "#/0")
    page.click("#help")
    page.click("#text")
    page.keyboard.press("w")
    assert not page.locator("#wrap").is_checked()
    page.click("#told button")
    page.click("#forget")
    for _ in range(6):
        page.keyboard.press("Escape")
    expect(page.locator("#sign-in")).to_be_visible()


def test_links_to_lines(rtot: Rtot, visit: Open) -> None:
    job_id = rtot.submit(b"seq 100; sleep 1; seq 101 200; exec sleep 99")
    page = visit(rtot.url, f"#/{job_id}/L99-102", failing="status of 404")
    chosen = page.locator("#lines .chosen pre")
    expect(chosen).to_have_text(["99", "100", "101", "102"])
    page.fill("[name=text]", "sleep")
    page.click("#top")
    page.press("[name=text]", "End")
    page.keyboard.type(" 99")
    expect(page.locator("#lines pre").first).to_have_text("1")
    assert page.url.endswith(f"#/{job_id}?text=sleep+99")
    page.evaluate("location.hash = '#/7'")
    expect(page.locator("#status")).to_have_text("Job 7: status 404")
    expect(page.locator("#job")).not_to_be_visible()


def test_a_server_that_was_started_anew(tmp_path: Path, context: BrowserContext) -> None:
    rtot = Rtot(tmp_path)
    rtot.run(b"echo before")
    page = context.new_page()
    page.goto(f"{rtot.url}/#/0")
    page.fill("#secret", SECRET)
    page.press("#secret", "Enter")
    expect(page.locator("#live")).to_have_text("● live")
    rtot.end()
    again = Rtot(tmp_path, f"-a={rtot.url.partition('//')[2]}")
    try:
        expect(page.locator("#status")).to_have_text(
            "The server was restarted: the list is read anew."
        )
        expect(page.locator(".row")).to_have_count(0)
    finally:
        again.close()
