"""report_html.py BROWSER PAGE PROFILE_FOLDER KIND [SCREENSHOT_FOLDER]

Opens the page in headless Chromium, spoken to over a pipe (DevTools protocol; no port, no network),
and looks at what a reader would: errors, requests, figures, sorting, themes, narrow screens.
"""
import base64
import json
import os
import pathlib
import select
import subprocess
import sys
import time

TIMEOUT_S = 60
failures = []


def check(holds, words):
    print(("ok      " if holds else "FAILED  ") + words)
    if not holds:
        failures.append(words)


class Browser:
    """One browser with one page; `events` holds what the page has reported so far."""

    def __init__(self, program, profile):
        command_read, self.command = os.pipe()
        self.answer, answer_write = os.pipe()

        def pipes():  # Chromium reads from 3 and writes to 4
            os.dup2(command_read, 200)
            os.dup2(answer_write, 201)
            os.dup2(200, 3)
            os.dup2(201, 4)

        self.process = subprocess.Popen(
            [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--remote-debugging-pipe", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--hide-scrollbars", "--user-data-dir=" + profile,
             "about:blank"],
            preexec_fn=pipes, close_fds=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(command_read)
        os.close(answer_write)
        self.buffer = b""
        self.next_id = 0
        self.events = []
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target,
                                 flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def receive(self, deadline):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.answer], [], [], max(0, deadline - time.time()))
            if not ready:
                raise TimeoutError("the browser does not answer")
            part = os.read(self.answer, 1 << 16)
            if not part:
                raise EOFError("the browser has ended")
            self.buffer += part
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **params):
        self.next_id += 1
        message = {"id": self.next_id, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.command, json.dumps(message).encode() + b"\0")
        deadline = time.time() + TIMEOUT_S
        while True:
            answer = self.receive(deadline)
            if answer.get("id") == self.next_id:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def wait(self, method):
        deadline = time.time() + TIMEOUT_S
        while not any(e.get("method") == method for e in self.events):
            self.events.append(self.receive(deadline))

    def open(self, url):
        self.events = []
        self.call("Page.navigate", url=url)
        self.wait("Page.loadEventFired")

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def size(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 500)

    def scheme(self, name):
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": name}])

    def click(self, expression):
        """A mouse click on the middle of the element that `expression` gives."""
        x, y = self.value(f"(() => {{ const e = {expression}; e.scrollIntoView({{block: 'center'}});"
                          "const r = e.getBoundingClientRect();"
                          "return [r.x + r.width / 2, r.y + r.height / 2]; })()")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def enter(self):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r",
                      windowsVirtualKeyCode=13)

    def screenshot(self, path):
        height = self.value("document.documentElement.scrollHeight")
        width = self.value("innerWidth")
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=True,
                            clip={"x": 0, "y": 0, "width": width, "height": height, "scale": 1})
        pathlib.Path(path).write_bytes(base64.b64decode(picture["data"]))

    def problems(self):
        """What a reader would find in the console."""
        found = []
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"]))
            if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
                found.append(str(params["args"]))
            if method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(params["entry"]["text"])
        return found

    def requests(self):
        return [e["params"]["request"]["url"] for e in self.events
                if e.get("method") == "Network.requestWillBeSent"]

    def close(self):
        self.process.kill()
        self.process.wait()


# A table of every kind of cell, put into the page before its own script looks for tables.
EXTRA_TABLE = """
document.addEventListener("DOMContentLoaded", () => {
  const cells = ["0.652 [0.621, 0.683]", "3e-4", "-", "<= 0.01", "yes", "", "1,115,394", "-0.36",
                 "no"];
  document.querySelector("main").insertAdjacentHTML("beforeend",
    "<table id=extra><thead><tr><th>v</th></tr></thead><tbody>" +
    cells.map((c) => "<tr><td>" + c.replace("<", "&lt;") + "</td></tr>").join("") +
    "</tbody></table>");
});
"""
SORTED = ["-0.36", "3e-4", "<= 0.01", "0.652 [0.621, 0.683]", "1,115,394", "no", "yes", "-", ""]
OPTIMA = ("Array.from(document.querySelectorAll('main table'))"
          ".find(t => t.tHead.rows[0].cells[0].textContent === 'batch')")


def column(browser, table, index):
    return browser.value(f"Array.from({table}.tBodies[0].rows,"
                         f" r => r.cells[{index}].textContent)")


# What the page of each kind of analysis shows at least.
FEWEST_FIGURES = {"realistic": 7, "gating": 4, "model_size": 4}


def look_at_page(browser, page, kind):
    browser.size(1200, 900)
    browser.scheme("light")
    browser.open(page)
    check(browser.problems() == [], f"no errors or warnings {browser.problems()}")
    check(browser.requests() == [page], f"nothing is asked for but the page {browser.requests()}")
    check(browser.value("window.broken") is None, "the study's name does not run")
    check("<script>window.broken" in browser.value("document.querySelector('h1').textContent"),
          "the study's name is shown")
    check(browser.value("document.querySelectorAll('main img').length") == 0, "nor does it draw")
    figures = browser.value("document.querySelectorAll('figure').length")
    drawn = browser.value(
        "Array.from(document.querySelectorAll('figure svg'), s => s.getBoundingClientRect())"
        ".filter(r => r.width > 300 && r.height > 100).length")
    check(figures >= FEWEST_FIGURES[kind] and drawn == figures, f"{drawn} of {figures} figures are drawn")
    ids = browser.value("Array.from(document.querySelectorAll('[id]'), e => e.id)")
    check(len(ids) == len(set(ids)), f"{len(ids)} ids, each once")
    lost = browser.value("Array.from(document.querySelectorAll('nav a'), a => a.hash)"
                         ".filter(h => !document.getElementById(h.slice(1)))")
    links = browser.value("document.querySelectorAll('nav a').length")
    check(links >= 5 and lost == [], f"{links} contents lead to their sections")
    nameless = browser.value(
        "Array.from(document.querySelectorAll('svg')).filter(s => s.getAttribute('role') !== 'img'"
        " || !document.getElementById(s.getAttribute('aria-labelledby')).textContent).length")
    check(nameless == 0, "every picture has a name for those who do not see it")


def look_at_sorting(browser):
    before = column(browser, OPTIMA, 0)
    button = OPTIMA + ".tHead.rows[0].cells[0].querySelector('button')"
    browser.click(button)
    ascending = sorted(before, key=int)
    check(column(browser, OPTIMA, 0) == ascending, "a click sorts, by number")
    browser.click(button)
    check(column(browser, OPTIMA, 0) == ascending[::-1], "a second click turns it round")
    check(browser.value(OPTIMA + ".tHead.rows[0].cells[0].ariaSort") == "descending",
          "the order is told to screen readers")
    browser.value(button + ".focus()")
    browser.enter()
    check(column(browser, OPTIMA, 0) == ascending, "the keyboard sorts")
    extra = "document.querySelector('#extra')"
    browser.click(extra + ".querySelector('button')")
    check(column(browser, extra, 0) == SORTED, f"every kind of cell: {column(browser, extra, 0)}")
    browser.click(extra + ".querySelector('button')")
    check(column(browser, extra, 0)[-2:] == ["-", ""], "what is missing stays last")
    check(browser.problems() == [], "without errors")


def brightness(browser):
    colour = browser.value("getComputedStyle(document.body).backgroundColor")
    return sum(int(c) for c in colour[4:-1].split(",")[:3]) / 3


def look_at_themes(browser, page):
    check(brightness(browser) > 240, "light by the system")
    browser.scheme("dark")
    check(brightness(browser) < 60, "dark by the system")
    browser.click("document.querySelector('.theme')")
    check(brightness(browser) > 240, "light by the reader")
    browser.open(page)
    check(brightness(browser) > 240, "light still after a reload")
    browser.click("document.querySelector('.theme')")
    check(brightness(browser) < 60, "dark again by the reader")
    browser.call("Page.addScriptToEvaluateOnNewDocument", source="""
      Object.defineProperty(window, "localStorage", {get() { throw new Error("refused"); }});""")
    browser.open(page)
    browser.click("document.querySelector('.theme')")
    check(brightness(browser) > 240 and browser.problems() == [],
          f"the switch works where storage is refused {browser.problems()}")
    browser.call("Emulation.setEmulatedMedia", media="print",
                 features=[{"name": "prefers-color-scheme", "value": "dark"}])
    check(brightness(browser) > 240, "paper is light")
    browser.call("Emulation.setEmulatedMedia", media="")


def look_at_narrow_screens(browser, page):
    browser.scheme("light")
    for width in (320, 375, 390, 768, 1200, 1920):
        browser.size(width, 800)
        browser.open(page)
        wide = browser.value("document.documentElement.scrollWidth")
        check(wide <= width and browser.value("innerWidth") == width,
              f"{width} px: the page is {wide} px wide")
    browser.size(375, 800)
    browser.open(page)
    within = browser.value(
        "Array.from(document.querySelectorAll('.scroll'))"
        ".every(s => s.getBoundingClientRect().right <= innerWidth)")
    scrolls = browser.value(
        "Array.from(document.querySelectorAll('.scroll')).some(s => s.scrollWidth > s.clientWidth)")
    check(within and scrolls, "wide tables scroll within themselves")


def look_at_policy(browser, page):
    browser.open(page)
    browser.value("{ const s = document.createElement('script'); s.textContent = 'window.added = 1';"
                  "document.head.append(s); }")
    check(browser.value("window.added") is None, "no other script runs in the page")


def main():
    program, file, profile, kind = sys.argv[1:5]
    page = pathlib.Path(file).resolve().as_uri()
    browser = Browser(program, profile)
    try:
        if len(sys.argv) > 5:
            folder = pathlib.Path(sys.argv[5])
            for name, width, scheme in (("light", 1200, "light"), ("dark", 1200, "dark"),
                                        ("phone", 390, "light"), ("phone-dark", 390, "dark")):
                browser.size(width, 900)
                browser.scheme(scheme)
                browser.open(page)
                browser.screenshot(folder / f"{kind}-{name}.png")
        browser.call("Page.addScriptToEvaluateOnNewDocument", source=EXTRA_TABLE)
        look_at_page(browser, page, kind)
        if kind == "realistic":  # the script is the same in all of them
            look_at_sorting(browser)
        look_at_themes(browser, page)
        look_at_narrow_screens(browser, page)
        look_at_policy(browser, page)
    finally:
        browser.close()
    print(f"{len(failures)} expectations failed" if failures else "all expectations hold")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
