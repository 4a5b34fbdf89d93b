// Two people on the chat page, each on a node of its own, in headless Chromium.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Node } from "../lib/node.mjs";
import { RedisServer } from "../lib/redis.mjs";
import { launch, Window } from "./chromium.mjs";

const room = (match, more) => ({
  match,
  ...{ join: "anybody", emit: "members", list: "members" },
  ...more,
});
const config = (recovery) => ({
  page: true,
  trustAuthUser: true,
  presenceLease: "2s",
  namespaces: [
    {
      name: "/",
      auth: "none",
      apps: ["rooms"],
      recovery,
      rooms: [
        room("closed", { join: "nobody", presence: true }),
        room("*", { stamp: true, announce: true, presence: true }),
      ],
    },
  ],
});

// With recovery, as with --dev, events bring one more argument.
for (const recovery of [false, true]) describe(`the chat page, recovery: ${recovery}`, () => {
  let redis, browser, ada, bob;
  const nodes = [];

  before(async () => {
    redis = await RedisServer.start();
    for (const name of ["node a", "node b"])
      nodes.push(await Node.start({ redis: redis.url, ...config(recovery) }, { name }));
    browser = await launch();
  });

  after(async () => {
    await browser?.close();
    for (const node of nodes) await node.stop();
    redis.disconnect();
  });

  it("lets two people in, on two nodes", async () => {
    ada = await Window.open(browser, nodes[0].url, { name: "Ada" });
    await ada.members("Ada");
    const options = { name: "Bob", dark: true, phone: true };
    bob = await Window.open(browser, nodes[1].url, options);
    await ada.members("Ada", "Bob");
    await bob.members("Ada", "Bob");
    await ada.note("Bob came in.");
    assert.notEqual(await ada.node(), await bob.node());
    assert.match(await ada.node(), /^[A-Za-z0-9_-]{6}$/);
    await ada.see("both nodes", () =>
      /on 2 nodes/.test(document.getElementById("subtitle").textContent),
    );
  });

  it("carries messages both ways, as text and with who sent them", async () => {
    await ada.say("Good morning!");
    await ada.delivered("Good morning!");
    await bob.hears("Ada", "Good morning!");
    const markup = '<img src=x onerror="document.title=1"> & "quotes" ✓ 🙂';
    await bob.say(markup);
    await bob.delivered(markup);
    await ada.hears("Bob", markup);
    assert.equal(await ada.page.locator("#logs img").count(), 0);
    await ada.shot("talk");
    await bob.shot("talk-phone-dark");
  });

  it("has several rooms, and counts what is unread in the others", async () => {
    await ada.join("deploys");
    await bob.openRooms();
    await bob.join("deploys");
    await ada.members("Ada", "Bob");
    await ada.toRoom("lobby");
    await bob.say("it is green");
    await ada.see(
      "one unread",
      () => document.querySelector(".badge")?.textContent === "1",
    );
    assert.match(await ada.page.title(), /^\(1\) lobby/);
    await ada.shot("unread");
    await ada.toRoom("deploys");
    await ada.hears("Bob", "it is green");
    assert.equal(await ada.page.locator(".badge").count(), 0);
  });

  it("says why a room can't be joined", async () => {
    await ada.join("closed");
    await ada.see("the reason", () =>
      /^closed: ./.test(document.getElementById("join-fault").textContent),
    );
    await ada.members("Ada", "Bob"); // back in deploys
  });

  it("leaves a room", async () => {
    await ada.page.click("#leave");
    await bob.note("Ada left.");
    await bob.members("Bob");
    await ada.members("Ada", "Bob"); // of the lobby
    assert.equal(await ada.page.locator(".room").count(), 1);
  });

  it("comes back after its node was killed, and says if something may be missing", async () => {
    await nodes[0].kill();
    await ada.state("reconnecting");
    await ada.say("said while away");
    await ada.see("it waits", () =>
      /waiting/.test(document.querySelector("#logs").innerText),
    );
    await ada.shot("reconnecting");
    await bob.openRooms();
    await bob.toRoom("lobby");

    nodes[0].spawn(); // at the same address, as behind a load balancer
    await nodes[0].ready();
    await ada.state("connected");
    if (!recovery) await ada.note("Connected again. Messages may have been missed meanwhile.");
    await ada.delivered("said while away");
    await bob.hears("Ada", "said while away");
    // The member of the killed node goes when its lease does.
    await bob.members("Ada", "Bob");
    await ada.members("Ada", "Bob");
    for (const window of [ada, bob])
      assert.doesNotMatch(await window.text(), /Ada left/, "she is there");
    await ada.shot("back");
  });

  it("changes a name", async () => {
    await bob.openRooms();
    await bob.page.click("#rename");
    await bob.page.fill("#name", "Robert");
    await bob.page.click("#welcome-form button");
    await bob.state("connected");
    await ada.members("Ada", "Robert");
    await bob.say("it is me");
    await ada.hears("Robert", "it is me");
  });

  it("did nothing its own security policy forbids", () => {
    assert.deepEqual(ada.faults, []);
    assert.deepEqual(bob.faults, []);
  });
});
