// Headless Chromium, as Debian has it, and what the tests do on the chat page.
import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { DEADLINE_MS } from "../lib/wait.mjs";

const PROGRAMS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const LOST = /WebSocket connection to|Failed to load resource: net::ERR_|the server responded with a status of (400|503)/;
const SHOTS = process.env.GATEHOUSE_SHOTS;

export async function launch() {
  const executablePath = process.env.CHROMIUM ?? PROGRAMS.find((path) => existsSync(path));
  assert.ok(executablePath, "Chromium is not installed: deploy/install.sh test");
  return chromium.launch({
    executablePath,
    args: [
      ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
      ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
    ],
  });
}

// A page in a browser of its own: no cookies, no storage shared.
export class Tab {
  static async open(browser, url, { name, dark = false, phone = false }) {
    const context = await browser.newContext({
      colorScheme: dark ? "dark" : "light",
      viewport: phone ? { width: 390, height: 844 } : { width: 1280, height: 800 },
    });
    return this.in(context, url, name);
  }

  // In a browser that is there, whose storage it shares.
  static async in(context, url, name) {
    const tab = new this();
    tab.name = name;
    tab.faults = []; // what the page itself did wrong
    tab.page = await context.newPage();
    tab.page.setDefaultTimeout(DEADLINE_MS);
    tab.page.on("pageerror", (error) => tab.faults.push(error.message));
    tab.page.on("console", (message) => {
      // A lost connection is an error on the console too, and none of the page's.
      if (message.type() === "error" && !LOST.test(message.text())) tab.faults.push(message.text());
    });
    await tab.page.goto(url);
    return tab;
  }

  // Until this holds on the page.
  async see(what, condition, argument) {
    try {
      await this.page.waitForFunction(condition, argument);
    } catch (error) {
      throw new Error(`${this.name} does not see: ${what}\n${await this.text()}`, {
        cause: error,
      });
    }
  }

  text() {
    return this.page.evaluate(() => document.body.innerText);
  }

  state(wanted) {
    return this.see(
      `the state ${wanted}`,
      (state) => document.getElementById("state").dataset.state === state,
      wanted,
    );
  }

  // Take the network away from this window, and give it back.
  offline(on) {
    return this.page.context().setOffline(on);
  }

  async shot(name) {
    if (!SHOTS) return;
    mkdirSync(SHOTS, { recursive: true });
    await this.page.screenshot({ path: join(SHOTS, `${name}.png`) });
  }
}

// One person's window on the chat page of one node.
export class Window extends Tab {
  static async open(browser, url, { room = "lobby", ...options }) {
    const window = await super.open(browser, url, options);
    await window.page.fill("#name", options.name);
    await window.page.fill("#first-room", room);
    await window.page.click("#welcome-form button");
    await window.state("connected");
    return window;
  }

  // Names in the list of who is here.
  async members(...names) {
    await this.see(
      `members ${names}`,
      (wanted) =>
        [...document.querySelectorAll(".member-name")]
          .map((e) => e.textContent)
          .sort()
          .join() === wanted,
      [...names].sort().join(),
    );
  }

  async say(text) {
    await this.page.fill("#say", text);
    await this.page.press("#say", "Enter");
  }

  // A message of ours is marked as sent.
  delivered(text) {
    return this.see(
      `own message "${text}", sent`,
      (t) =>
        [...document.querySelectorAll(".message.own")].some(
          (m) =>
            m.querySelector(".text").textContent === t &&
            m.querySelector(".delivery").dataset.kind === "ok",
        ),
      text,
    );
  }

  hears(from, text) {
    return this.see(
      `"${text}" from ${from}`,
      ([f, t]) =>
        [...document.querySelectorAll(".message:not(.own)")].some(
          (m) =>
            m.querySelector(".message-head b").textContent === f &&
            m.querySelector(".text").textContent === t,
        ),
      [from, text],
    );
  }

  note(text) {
    return this.see(
      `the note "${text}"`,
      (t) => [...document.querySelectorAll(".note")].some((n) => n.textContent === t),
      text,
    );
  }

  async join(room) {
    await this.page.fill("#join-name", room);
    await this.page.press("#join-name", "Enter");
  }

  // On a phone the rooms are in a drawer.
  async openRooms() {
    await this.page.click("#show-side");
  }

  async toRoom(room) {
    await this.page.click(`.room:has-text("${room}")`);
  }

  // How often the text is in the log.
  times(text) {
    return this.page.locator("#logs .text", { hasText: new RegExp(`^${text}$`) }).count();
  }

  transport(wanted) {
    return this.see(
      `the transport ${wanted}`,
      (name) => document.getElementById("my-transport").textContent === name,
      wanted,
    );
  }

  node() {
    return this.page.textContent("#my-node");
  }
}
