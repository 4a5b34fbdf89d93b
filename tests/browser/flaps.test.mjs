// The chat page over each transport, through a load balancer that deals requests out to
// three nodes in turn, while the network comes and goes.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Cluster } from "../lib/target.mjs";
import { launch, Window } from "./chromium.mjs";

const CONFIG = {
  page: true,
  trustAuthUser: true,
  presenceLease: "2s",
  pingInterval: "2s",
  pingTimeout: "3s",
  namespaces: [
    {
      name: "/",
      auth: "none",
      apps: ["rooms"],
      rooms: [
        {
          match: "*",
          ...{ join: "anybody", emit: "members", list: "members" },
          ...{ stamp: true, announce: true, presence: true },
        },
      ],
    },
  ],
};

describe("the chat page while the network comes and goes", () => {
  let cluster, browser;

  before(async () => {
    cluster = new Cluster(CONFIG);
    await cluster.start();
    browser = await launch();
  });

  after(async () => {
    await browser?.close();
    await cluster.stop();
  });

  for (const [name, query, transport] of [
    ["polling alone", "?transports=polling", "long-polling"],
    ["websocket alone", "?transports=websocket", "WebSocket"],
    ["polling, then websocket", "", "WebSocket"],
  ]) {
    describe(name, () => {
      let ada, bob;
      const shot = (what) => ada.shot(`flaps-${name.replace(/\W+/g, "-")}-${what}`);

      it("lets people in, and they talk", async () => {
        const room = name.replace(/\W+/g, "-");
        ada = await Window.open(browser, `${cluster.url}/${query}`, { name: "Ada", room });
        bob = await Window.open(browser, `${cluster.url}/${query}`, { name: "Bob", room });
        await ada.transport(transport);
        await bob.transport(transport);
        await ada.members("Ada", "Bob");
        await bob.members("Ada", "Bob");
        await ada.say("hello");
        await bob.hears("Ada", "hello");
        await ada.delivered("hello");
        await bob.say("good morning");
        await ada.hears("Bob", "good morning");
        await shot("talk");
      });

      it("comes back when the network does, and says what waited", async () => {
        for (let i = 0; i < 3; i++) {
          await ada.offline(true);
          await ada.state("reconnecting");
          await ada.say(`offline ${i}`);
          await ada.see("it waits", () => {
            const last = [...document.querySelectorAll(".message.own .delivery")].at(-1);
            return last.dataset.kind === "waiting";
          });
          if (i === 0) await shot("offline");
          await ada.offline(false);
          await ada.state("connected");
          await ada.transport(transport);
          await ada.delivered(`offline ${i}`);
          await bob.hears("Ada", `offline ${i}`);
          assert.equal(await bob.times(`offline ${i}`), 1);
          await bob.say(`there you are ${i}`);
          await ada.hears("Bob", `there you are ${i}`);
        }
        await ada.members("Ada", "Bob");
        await bob.members("Ada", "Bob");
      });

      it("survives a network that flickers", async () => {
        for (let i = 0; i < 6; i++) {
          await ada.offline(true);
          await ada.offline(false);
        }
        await ada.say("still there?");
        await bob.hears("Ada", "still there?");
        await ada.delivered("still there?");
        await bob.say("yes");
        await ada.hears("Bob", "yes");
        assert.equal(await bob.times("still there\\?"), 1);
        await ada.transport(transport);
        await ada.members("Ada", "Bob");
        await shot("back");
      });

      it("did nothing its own security policy forbids", async () => {
        for (const window of [ada, bob]) {
          assert.deepEqual(window.faults, []);
          await window.page.context().close();
        }
      });
    });
  }
});
