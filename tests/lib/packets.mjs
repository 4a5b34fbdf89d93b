// What tests do with a connection, whichever transport is below: send packets, expect
// packets, join namespaces. A text packet is a string, a binary one a Buffer.
import assert from "node:assert/strict";
import { Inbox, within } from "./wait.mjs";

export class Packets {
  inbox = new Inbox();

  // {code, reason} once the connection is closed, by whomever.
  closed = new Promise((resolve) => {
    this.markClosed = (code, reason) => {
      this.inbox.end(`closed with ${code} ${reason}`);
      resolve({ code, reason });
    };
  });

  next(what, deadlineMs) {
    return this.inbox.next(what, deadlineMs);
  }

  async expect(...packets) {
    for (const packet of packets) {
      assert.deepEqual(await this.next(`the packet ${packet}`), packet);
    }
  }

  // Read the open packet; it is in `this.open`.
  async opening() {
    const packet = await this.next("the open packet");
    assert.equal(packet[0], "0", `an open packet, not ${packet}`);
    this.open = JSON.parse(packet.slice(1));
  }

  // Join a namespace; the CONNECT answer is in `this.joined`. The echo application's
  // "auth" event is read too, and in `this.auth`.
  async join(nsp = "/", auth, echo = true) {
    const prefix = nsp === "/" ? "" : `${nsp},`;
    this.send(`40${prefix}${auth === undefined ? "" : JSON.stringify(auth)}`);
    const packet = await this.next("the answer to CONNECT");
    assert.ok(packet.startsWith(`40${prefix}{`), `connected, not ${packet}`);
    this.joined = JSON.parse(packet.slice(2 + prefix.length));
    if (!echo) return;
    const event = await this.next("the event auth");
    assert.ok(event.startsWith(`42${prefix}["auth",`), `the event auth, not ${event}`);
    this.auth = JSON.parse(event.slice(2 + prefix.length))[1];
  }

  // Nothing else has come, and the connection works: the next packet is the answer to
  // this one. Needs the echo application.
  async alive(nsp = "/") {
    const prefix = nsp === "/" ? "" : `${nsp},`;
    this.send(`42${prefix}909["message-with-ack","alive"]`);
    await this.expect(`43${prefix}909["alive"]`);
  }

  ended() {
    return within("the connection is closed", this.closed);
  }

  // The server closes the connection, and sends nothing before that.
  async expectClosed(code) {
    const { code: actual } = await this.ended();
    assert.deepEqual(this.inbox.drain(), [], "nothing is sent before the close");
    if (code !== undefined) assert.equal(actual, code, "the close code");
  }
}
