/** Starts a real browser, opens pages of Roomcast in it, and checks the accessibility of these pages. */
import axe from "axe-core";
import {
  type Browser,
  type BrowserContext,
  chromium,
  type Page,
} from "playwright-core";

import { TIMEOUT_MS } from "./wait.ts";

/** The folder for screenshots. No screenshots are taken if the variable is not set. */
const SCREENSHOTS = Deno.env.get("SCREENSHOTS");

/** How a page is shown: width and height in CSS pixels, color scheme, and whether the screen is a touch screen. */
export interface View {
  readonly width?: number;
  readonly height?: number;
  readonly scheme?: "light" | "dark";
  readonly touch?: boolean;
}

const EXECUTABLE = Deno.env.get("CHROMIUM") ?? "/usr/bin/chromium";
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
];

/** Starts the installed Chromium, or the browser that the variable `CHROMIUM` names. */
export async function launch(): Promise<Browser & AsyncDisposable> {
  const browser = await chromium.launch({
    executablePath: EXECUTABLE,
    args: ARGUMENTS,
  });
  return Object.assign(browser, {
    [Symbol.asyncDispose]: () => browser.close(),
  });
}

/** Starts the browser with the extension in a folder, and with a new profile. */
export async function launchWithExtension(
  folder: string,
): Promise<BrowserContext & AsyncDisposable> {
  const context = await chromium.launchPersistentContext("", {
    executablePath: EXECUTABLE,
    ignoreDefaultArgs: ["--disable-extensions"],
    args: [
      ...ARGUMENTS,
      `--disable-extensions-except=${folder}`,
      `--load-extension=${folder}`,
    ],
  });
  return Object.assign(context, {
    [Symbol.asyncDispose]: () => context.close(),
  });
}

/** An open page, with the errors that its console has shown, including violations of the Content-Security-Policy. */
export interface OpenPage extends AsyncDisposable {
  readonly page: Page;
  readonly errors: string[];
}

/** Opens a page. Waits until the page is connected, unless `connected` is false. */
export async function open(
  browser: Browser,
  url: string,
  { width = 1280, height = 800, scheme = "light", touch = false }: View = {},
  connected = true,
): Promise<OpenPage> {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: scheme,
    hasTouch: touch,
    isMobile: touch,
    locale: "en-GB",
  });
  context.setDefaultTimeout(TIMEOUT_MS);
  const page = await context.newPage();
  const errors: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text());
  });
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(url);
  if (connected) await isConnected(page);
  return { page, errors, [Symbol.asyncDispose]: () => context.close() };
}

/** Waits until a page shows that it is connected to the server. */
export async function isConnected(page: Page): Promise<void> {
  await page.locator("#state[data-state=connected]").waitFor();
}

/** Resolves to the violations of axe-core's accessibility rules on a page, one line for each. */
export async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  // A row that is fading in has too little contrast.
  await page.evaluate(
    "document.getAnimations().forEach((animation) => { try { animation.finish(); } catch { /* It has no end. */ } })",
  );
  const found = await page.evaluate("axe.run()") as {
    violations: {
      id: string;
      help: string;
      nodes: { target: string[]; failureSummary: string }[];
    }[];
  };
  return found.violations.flatMap(({ id, help, nodes }) =>
    nodes.map(({ target, failureSummary }) =>
      `${id} (${help}) at ${target.join(" ")}: ${failureSummary}`
    )
  );
}

/** Saves a screenshot of a page as `<name>.png`, if the variable `SCREENSHOTS` names a folder. */
export async function screenshot(page: Page, name: string): Promise<void> {
  if (SCREENSHOTS === undefined) return;
  await page.screenshot({
    path: `${SCREENSHOTS}/${name}.png`,
    animations: "disabled",
  });
}
