// Opens reports in headless Chromium at two widths, light and dark, and fails where one overflows its width, writes an error to the console, asks for anything
// but itself, or has a fault of accessibility that axe-core calls serious or critical.
//
// usage: node check_reports.mjs MODULES SCREENSHOTS|- REPORT...
//
// MODULES is the folder of npm's playwright-core and axe-core. Screenshots of every view are left in SCREENSHOTS.

import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, screenshots, ...reports] = process.argv.slice(2);
if (reports.length === 0) {
  console.error("usage: node check_reports.mjs MODULES SCREENSHOTS|- REPORT...");
  process.exit(2);
}
const require = createRequire(join(resolve(modules), "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const WIDTHS = [360, 1280];
const SCHEMES = ["light", "dark"];
const FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** What is wrong with a report in one view. */
async function faults(browser, report, width, colorScheme) {
  // The page's policy bars scripts; axe-core is one.
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme, bypassCSP: true });
  const page = await context.newPage();
  const address = pathToFileURL(resolve(report)).href;
  const found = [];
  page.on("console", (message) => message.type() === "error" && found.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => found.push(`error: ${error.message}`));
  page.on("request", (request) => !request.url().startsWith("data:") && request.url().split("#")[0] !== address && found.push(`request: ${request.url()}`));
  await page.goto(address);
  const overflow = () =>
    page.evaluate(() => {
      const room = document.documentElement.clientWidth;
      const wide = document.documentElement.scrollWidth - room;
      if (wide <= 0) return null;
      const culprits = [...document.querySelectorAll("body *")].filter((element) => !element.closest(".scroll, pre, nav") && element.getBoundingClientRect().right > room + 1);
      return `${wide} px too wide: ${culprits.slice(-3).map((element) => element.outerHTML.slice(0, 120)).join(" | ")}`;
    });
  const closed = await overflow();
  if (closed) found.push(closed);
  if (screenshots !== "-") {
    const name = `${basename(report, ".html")}-${basename(dirname(dirname(resolve(report))))}-${width}-${colorScheme}.png`;
    await page.screenshot({ path: join(screenshots, name), fullPage: true });
  }
  // Tables behind plots are looked at, too.
  await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
  const opened = await overflow();
  if (opened) found.push(`with all tables open, ${opened}`);
  await page.evaluate(axe);
  const result = await page.evaluate(() => window.axe.run(document));
  for (const violation of result.violations) {
    if (violation.impact === "serious" || violation.impact === "critical") {
      const node = violation.nodes[0];
      found.push(`${violation.impact}: ${violation.id} (${violation.nodes.length} places): ${node.html.slice(0, 160)} ${node.failureSummary ?? ""}`);
    }
  }
  await context.close();
  return found;
}

if (screenshots !== "-") mkdirSync(screenshots, { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
let failed = false;
try {
  for (const report of reports) {
    for (const width of WIDTHS) {
      for (const scheme of SCHEMES) {
        const found = await faults(browser, report, width, scheme);
        failed ||= found.length > 0;
        console.log(`${found.length > 0 ? "FAULTS" : "ok    "} ${report} at ${width} px, ${scheme}`);
        for (const fault of found) console.log(`       ${fault}`);
      }
    }
  }
} finally {
  await browser.close();
}
process.exit(failed ? 1 : 0);
