// examples/parcels on the cluster deploy/local.sh makes, as its README says: a vendor, two
// drivers and the hub, each in a browser of its own.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { io } from "socket.io-client";
import { freePort, local, started } from "../lib/local.mjs";
import { until, within } from "../lib/wait.mjs";
import { launch, Tab } from "./chromium.mjs";

const EXAMPLE = new URL("../../examples/parcels", import.meta.url).pathname;

class Vendor extends Tab {
  static at = "/vendor.html?name=Bakery";

  async post(what, to = "12 Mill Lane") {
    await this.page.fill("#what", what);
    await this.page.fill("#to", to);
    await this.page.press("#to", "Enter");
  }

  step(what, wanted) {
    return this.see(
      `${what} is ${wanted}`,
      ([w, s]) =>
        [...document.querySelectorAll("#parcels .parcel")].some(
          (p) => p.querySelector("b").textContent === w && p.dataset.step === s,
        ),
      [what, wanted],
    );
  }

  // Newest first, as the page has them, without the time.
  news() {
    return this.page.$$eval("#news li > span:not(.tag)", (all) => all.map((e) => e.textContent));
  }
}

class Driver extends Tab {
  async goOnDuty() {
    await this.page.click("#duty");
    await this.see("on duty", () => document.body.dataset.duty === "on");
  }

  // What it has in hand, or null.
  holds() {
    return this.page.evaluate(() => {
      const card = document.getElementById("pickup");
      return card.hidden ? null : document.getElementById("pickup-what").textContent;
    });
  }

  has(what, step = "taken") {
    return this.see(
      `${what}, ${step}`,
      ([w, s]) => {
        const card = document.getElementById("pickup");
        return (
          !card.hidden &&
          card.dataset.step === s &&
          document.getElementById("pickup-what").textContent === w &&
          !document.getElementById("next").disabled
        );
      },
      [what, step],
    );
  }

  next() {
    return this.page.click("#next");
  }

  free() {
    return this.see("nothing in hand", () => document.getElementById("pickup").hidden);
  }

  async deliver(what) {
    await this.has(what, "taken");
    await this.next();
    await this.has(what, "in transit");
    await this.next();
  }
}

class Hub extends Tab {
  parcel(what, step, driver = "") {
    return this.see(
      `${what} is ${step} ${driver}`,
      ([w, s, d]) =>
        [...document.querySelectorAll(".board .parcel")].some(
          (p) =>
            p.querySelector("b").textContent === w &&
            p.dataset.step === s &&
            p.querySelector(".by").textContent.includes(d),
        ),
      [what, step, driver],
    );
  }

  driver(name, state) {
    return this.see(
      `${name} is ${state}`,
      ([n, s]) =>
        [...document.querySelectorAll("#drivers li")].some(
          (d) => d.querySelector("b").textContent === n && d.dataset.state === s,
        ),
      [name, state],
    );
  }

  // What it heard of a parcel, oldest first, without the time.
  heard(what) {
    return this.page.$$eval(
      "#feed li > span",
      (all, w) =>
        all
          .filter((e) => e.querySelector("b").textContent === w)
          .map((e) => e.textContent.slice(w.length + 1))
          .reverse(),
      what,
    );
  }

  async heardAll(what, ...wanted) {
    await until(
      `the hub heard ${wanted}`,
      async () => (await this.heard(what)).length >= wanted.length,
    ).catch(async (error) => {
      throw new Error(`${error.message}; it heard ${await this.heard(what)}`);
    });
    assert.deepEqual(await this.heard(what), wanted);
  }
}

describe("examples/parcels", () => {
  let script, url, browser, vendor, hub;
  const drivers = {};
  const tabs = [];
  const clients = [];

  async function open(kind, path, options = {}) {
    const tab = await kind.open(browser, url + path, { name: path, ...options });
    tabs.push(tab);
    await tab.state("connected");
    return tab;
  }

  // Who of the drivers has it, and who has not.
  const whoHas = (what, step) =>
    until(`somebody has ${what}`, async () => {
      for (const [name, driver] of Object.entries(drivers)) {
        if ((await driver.holds()) !== what) continue;
        await driver.has(what, step);
        return [name, Object.keys(drivers).find((other) => other !== name)];
      }
      return null;
    });

  before(async () => {
    const port = await freePort();
    script = local(
      ...["--port", String(port)],
      ...["--config", `${EXAMPLE}/gatehouse.yaml`, "--pages", `${EXAMPLE}/pages`],
    );
    await started(script);
    url = `http://127.0.0.1:${port}`;
    browser = await launch();
  });

  after(async () => {
    for (const client of clients) client.disconnect();
    await browser?.close();
    const { code } = await script.stop("SIGINT", 40_000);
    assert.equal(code, 130, script.output);
    assert.doesNotMatch(script.output, /did not end within|ended with exit code/);
  });

  it("has a page from which one finds the others", async () => {
    const start = await Tab.open(browser, url, { name: "start" });
    await start.shot("parcels-start");
    const links = await start.page.$$eval(".doors a", (all) => all.map((a) => a.href));
    assert.equal(links.length, 4);
    for (const link of links) assert.equal((await fetch(link)).status, 200, link);
    assert.equal((await fetch(`${url}/nothing.html`)).status, 404);
    await start.page.context().close();
  });

  it("asks for a name, and says what is wrong with one", async () => {
    const page = await Tab.open(browser, `${url}/driver.html?name=a*b`, { name: "nobody" });
    await page.see("why", () => /“a\*b” will not do/.test(document.body.innerText));
    await page.page.fill("#name", "Zoe");
    await page.page.click("#welcome button");
    await page.state("connected");
    await page.page.context().close();
  });

  it("gives a pickup to one of two drivers", async () => {
    hub = await open(Hub, "/hub.html");
    vendor = await open(Vendor, Vendor.at);
    for (const name of ["Ben", "Cleo"]) {
      drivers[name] = await open(Driver, `/driver.html?name=${name}`, { phone: true });
      await hub.driver(name, "off");
    }

    await vendor.post("Bread");
    await vendor.step("Bread", "waiting");
    await hub.parcel("Bread", "waiting");
    await vendor.shot("parcels-vendor-waiting");

    for (const [name, driver] of Object.entries(drivers)) await driver.goOnDuty();
    const [one, other] = await whoHas("Bread");
    await hub.parcel("Bread", "taken", one);
    await hub.driver(one, "busy");
    await hub.driver(other, "free");
    assert.equal(await drivers[other].holds(), null);
    await drivers[one].shot("parcels-driver-taken");
    await hub.shot("parcels-hub-taken");
    await drivers[one].next();
    await vendor.step("Bread", "in transit");
    await hub.parcel("Bread", "in transit", one);
    await drivers[one].has("Bread", "in transit");
    await drivers[one].next();
    await vendor.step("Bread", "delivered");
    await hub.parcel("Bread", "delivered", one);
    await hub.heardAll("Bread",
      ...["was posted by Bakery", `was taken by ${one}`],
      ...[`is in transit with ${one}`, `was delivered by ${one}`]);
    await drivers[one].free();
    await hub.driver(one, "free");
  });

  it("gives it to the other when a driver's tab is closed", async () => {
    await vendor.post("Rolls");
    const [one, other] = await whoHas("Rolls");
    await hub.parcel("Rolls", "taken", one);
    await drivers[one].page.close();
    delete drivers[one];
    await hub.driver(one, "gone");
    await hub.shot("parcels-hub-gone");
    await drivers[other].has("Rolls");
    await drivers[other].see("that it was given out before", () =>
      !document.getElementById("pickup-note").hidden);
    await hub.parcel("Rolls", "taken", other);

    // The vendor's page is closed, and what happens meanwhile waits for it.
    await vendor.step("Rolls", "waiting");
    await vendor.page.close();
    await drivers[other].next();
    await drivers[other].has("Rolls", "in transit");
    await drivers[other].shot("parcels-driver-transit");
    await drivers[other].next();
    await drivers[other].free();
    await hub.parcel("Rolls", "delivered", other);

    vendor = await Vendor.in(vendor.page.context(), url + Vendor.at, "the Bakery, again");
    tabs.push(vendor);
    await vendor.step("Rolls", "delivered");
    assert.deepEqual((await vendor.news()).slice(0, 2), [
      `Rolls was delivered by ${other}`,
      `Rolls is in transit with ${other}`,
    ]);
    await vendor.see("that it was away", () =>
      /^2 updates came while this page was closed/.test(document.getElementById("away").textContent));
    await vendor.shot("parcels-vendor-back");

    // Each once.
    await hub.heardAll("Rolls",
      ...["was posted by Bakery", `was taken by ${one}`, `was taken by ${other}`],
      ...[`is in transit with ${other}`, `was delivered by ${other}`]);

    drivers[one] = await open(Driver, `/driver.html?name=${one}`, { dark: true });
    await drivers[one].goOnDuty();
  });

  it("has shown each update once, also to a vendor that reloads", async () => {
    await vendor.page.reload();
    await vendor.state("connected");
    await vendor.post("Pretzels");
    const [one] = await whoHas("Pretzels");
    await drivers[one].deliver("Pretzels");
    await vendor.step("Pretzels", "delivered");
    const news = await vendor.news();
    assert.equal(news.length, 6);
    assert.equal(new Set(news).size, 6);
  });

  it("tells another browser of the vendor what it missed, too", async () => {
    await vendor.page.context().close();
    // Whoever is a vendor may post with any client.
    const client = io(url, { auth: { user: "vendor.Bakery" }, transports: ["websocket"] });
    clients.push(client);
    const parcel = { id: "HANDMADE", what: "Cake", to: "3 Hill Road", vendor: "vendor.Bakery" };
    const ack = await client.timeout(10_000).emitWithAck("queue:push", "pickups", parcel);
    assert.equal(ack.ok, true, JSON.stringify(ack));
    const [one] = await whoHas("Cake");
    await drivers[one].deliver("Cake");
    await drivers[one].free();
    vendor = await open(Vendor, Vendor.at, { phone: true });
    await vendor.step("Cake", "delivered");
    assert.deepEqual(await vendor.news(), [
      `Cake was delivered by ${one}`,
      `Cake is in transit with ${one}`,
    ]);
    await vendor.shot("parcels-vendor-phone");
  });

  it("takes back what a driver hands back", async () => {
    await vendor.post("Bagels");
    const [one, other] = await whoHas("Bagels");
    await drivers[one].page.click("#back");
    await drivers[one].free();
    await drivers[one].see("off duty", () => document.body.dataset.duty === "off");
    await drivers[other].deliver("Bagels");
    await vendor.step("Bagels", "delivered");
    await drivers[one].goOnDuty();
    const heard = await hub.heard("Bagels");
    assert.equal(heard.filter((line) => line === `was handed back by ${one}`).length, 1);
  });

  it("says what is wrong with a pickup, and keeps it", async () => {
    await vendor.post("", "nowhere");
    await vendor.see("what is missing", () =>
      document.getElementById("fault").textContent === "Say what it is, please.");
    await vendor.post("Too much of it. ".repeat(100).trim());
    await vendor.see("the server's word", () =>
      /^Not posted: the payload is larger than this queue takes/.test(
        document.querySelector(".parcel .fault")?.textContent));
    await vendor.page.locator("#parcels").scrollIntoViewIfNeeded();
    await vendor.shot("parcels-vendor-refused");
    await vendor.page.click(".parcel .fault button:last-child");
    await vendor.see("it is gone", () => !document.querySelector(".parcel .fault"));
  });

  it("lets nobody do more than a page of theirs does", async () => {
    const code = async (user, ...args) => {
      const client = io(url, { auth: { user }, transports: ["websocket"], forceNew: true });
      clients.push(client);
      const ack = await client.timeout(10_000).emitWithAck(...args);
      return ack.ok ? "ok" : ack.error.code;
    };
    for (const [user, ...args] of [
      ["vendor.Mallory", "queue:consume", "pickups"],
      ["vendor.Mallory", "queue:consume", "mailbox:vendor.Bakery"],
      ["vendor.Mallory", "queue:push", "mailbox:vendor.Bakery", {}],
      ["vendor.Mallory", "room:join", "board"],
      ["vendor.Mallory", "room:join", "crew"],
      ["driver.Mallory", "queue:push", "pickups", {}],
      ["driver.Mallory", "queue:consume", "mailbox:vendor.Bakery"],
      ["driver.Mallory", "room:join", "vendors"],
      ["driver.Mallory", "room:emit", "crew", "roll-call"],
      ["hub.desk", "queue:consume", "pickups"],
      ["hub.desk", "room:emit", "board", "parcel", {}],
      ["Mallory", "queue:push", "pickups", {}],
    ])
      assert.equal(await code(user, ...args), "not_allowed", `${user}: ${args}`);
    assert.equal(await code("vendor.Mallory", "room:emit", "board", "shout"), "not_allowed");
  });

  it("does not believe what is no parcel", async () => {
    const client = io(url, { auth: { user: "vendor.Mallory" }, transports: ["websocket"] });
    clients.push(client);
    const ask = (...args) => client.timeout(10_000).emitWithAck(...args);
    const parcel = { id: "X1", what: "<b>Bomb</b>", to: "you", vendor: "vendor.Bakery" };
    // In another's name: the hub looks at the stamp.
    for (const said of [{ parcel, step: "waiting" }, { parcel, step: "taken" }, { parcel: 1 }, null])
      await ask("room:emit", "board", "parcel", said);
    const own = { ...parcel, id: "X2", vendor: "vendor.Mallory" };
    await ask("room:emit", "board", "parcel", { parcel: own, step: "waiting" });
    await hub.parcel("<b>Bomb</b>", "waiting");
    assert.deepEqual(await hub.heard("<b>Bomb</b>"), ["was posted by Mallory"]);
  });

  it("tells that something may be missing, and asks for it", async () => {
    await hub.offline(true);
    await hub.state("away");
    await hub.shot("parcels-hub-away");
    await vendor.post("Muffins");
    const [one, other] = await whoHas("Muffins");
    await drivers[one].next();
    await vendor.step("Muffins", "in transit");
    await hub.offline(false);
    await hub.state("connected");
    // Unless the session was recovered: then nothing is.
    await hub.see("that something may be missing", () => {
      const told = /^You were away from /.test(document.getElementById("missed-text").textContent);
      return told === (document.getElementById("state").dataset.recovered !== "true");
    });
    await hub.parcel("Muffins", "in transit", one);
    await hub.driver(other, "free");
    await drivers[one].has("Muffins", "in transit");
    await drivers[one].next();
    await hub.parcel("Muffins", "delivered", one);
    await vendor.step("Muffins", "delivered");
  });

  it("posts when the connection is back what was posted without one", async () => {
    await vendor.offline(true);
    await vendor.state("away");
    await vendor.post("Croissants");
    await vendor.step("Croissants", "sending");
    await vendor.shot("parcels-vendor-offline");
    await vendor.offline(false);
    await vendor.state("connected");
    const [one] = await whoHas("Croissants");
    await drivers[one].deliver("Croissants");
    await vendor.step("Croissants", "delivered");
  });

  it("tells a driver who was away whether the pickup is still theirs", async () => {
    await vendor.post("Scones");
    const [one, other] = await whoHas("Scones");
    await drivers[one].offline(true);
    await drivers[one].state("away");
    await drivers[one].see("buttons that do nothing", () => document.getElementById("next").disabled);
    await drivers[one].shot("parcels-driver-away");
    await drivers[other].has("Scones");
    await drivers[one].offline(false);
    await drivers[one].state("connected");
    await drivers[one].see("the question", () =>
      document.getElementById("pickup-state").textContent === "Is it still yours?");
    // The next one that comes answers it.
    await vendor.post("Waffles");
    await drivers[one].has("Waffles");
    await drivers[one].see("that it is another's", () =>
      document.getElementById("note").textContent === "“Scones” went to another driver.");
    await drivers[one].shot("parcels-driver-other");
    await drivers[other].deliver("Scones");
    await drivers[one].deliver("Waffles");
    await vendor.step("Scones", "delivered");
    await vendor.step("Waffles", "delivered");
  });

  it("is the same after a reload, and begins anew with what is under way", async () => {
    await vendor.post("Tarts");
    const [one] = await whoHas("Tarts");
    await hub.parcel("Tarts", "taken", one);
    await hub.page.reload();
    await hub.state("connected");
    await hub.driver(one, "busy");
    assert.deepEqual(await hub.heard("Tarts"), ["was posted by Bakery", `was taken by ${one}`]);
    await hub.page.click("#forget");
    await hub.parcel("Tarts", "taken", one);
    await hub.see("that alone", () => document.querySelectorAll(".board .parcel").length === 1);
    assert.deepEqual(await hub.heard("Scones"), []);
    await drivers[one].deliver("Tarts");
    await hub.parcel("Tarts", "delivered", one);
    await vendor.step("Tarts", "delivered");
  });

  it("fits into a narrow window", async () => {
    for (const tab of [vendor, hub, ...Object.values(drivers)]) {
      const size = tab.page.viewportSize();
      await tab.page.setViewportSize({ width: 320, height: 640 });
      const wide = await tab.page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= 320, `${tab.name}: ${wide}`);
      await tab.shot(`parcels-narrow-${tab.constructor.name}`);
      await tab.page.setViewportSize(size);
    }
  });

  it("goes on when two of three nodes are killed", async () => {
    await vendor.post("Donuts");
    const [one] = await whoHas("Donuts");
    await drivers[one].next();
    await drivers[one].has("Donuts", "in transit");
    for (const [, pid] of [...script.output.matchAll(/node[12] .* process (\d+)/g)])
      process.kill(Number(pid), "SIGKILL");
    await until("both deaths are reported", () => /Nodes that go on: 1\./.test(script.output));
    // Those that were on them come back, and so does the pickup, to one of the two: the
    // lease of a killed node ends first.
    const [now] = await within(
      "the pickup is in hand again",
      until("somebody goes on", async () => {
        for (const [name, driver] of Object.entries(drivers)) {
          const step = await driver.page.evaluate(() => {
            const card = document.getElementById("pickup");
            const off = document.getElementById("next").disabled;
            return card.hidden || off ? null : card.dataset.step;
          });
          if (step === "in transit" || step === "taken") return [name, step];
        }
        return null;
      }, 40_000),
      45_000,
    );
    await vendor.state("connected");
    await hub.state("connected");
    while ((await drivers[now].holds()) === "Donuts") {
      await drivers[now].next();
      await drivers[now].see("the next step", () =>
        document.getElementById("pickup").hidden || !document.getElementById("next").disabled);
    }
    await vendor.step("Donuts", "delivered");
    await hub.parcel("Donuts", "delivered", now);
    const news = await vendor.news();
    assert.equal(news.filter((line) => line.startsWith("Donuts")).length, 2, news.join("\n"));
    await hub.shot("parcels-hub-end");
    await hub.page.setViewportSize({ width: 390, height: 844 });
    await hub.shot("parcels-hub-phone");
  });

  it("did nothing its own security policy forbids", () => {
    for (const { name, faults } of tabs) assert.deepEqual(faults, [], name);
  });
});
