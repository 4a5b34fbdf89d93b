/* A driver takes one pickup at a time. The ack of queue:message is what removes it from the
 * queue, and is sent when the parcel is delivered: a driver who is gone before has not done
 * it, and another one gets it. */
import { $, BOARD, CREW, PICKUPS, el, enter, load, mailbox, nameOf, parcelOf, save, say, time } from "./common.js";

const KEEP = 50; // parcels this driver remembers as delivered

/* The one in hand: {parcel, attempt, ack, step: "taken" or "in transit", ours}. `ours` is
 * false after the connection was lost, until the queue says again that it is. */
let held = null;
let onDuty = false;
let busy = false;

const me = enter("driver", {
	away: "Your pickup waits a moment for you, then another driver gets it.",
	onConnect,
	onAway() {
		busy = false;
		draw();
	},
});

/* Survive a reload: what was delivered, and how far the one in hand was. */
const memory = me ? load(me.user, { done: [], onRoad: [] }) : null;

if (me) {
	// A tab that is reloaded goes on; a new one asks first.
	onDuty = sessionStorage.getItem("parcels.duty") === me.user;
	$("duty").addEventListener("click", () => setDuty(!onDuty));
	$("next").addEventListener("click", next);
	$("back").addEventListener("click", handBack);
	$("forget").addEventListener("click", () => {
		memory.done = [];
		save(me.user, memory);
		draw();
	});
	me.socket.on("queue:message", onPickup);
	me.socket.on("roll-call", standing);
	draw();
	me.socket.connect();
}

async function onConnect({ again }) {
	// What a consumer has in hand is given back when its connection ends, also if its
	// session is recovered.
	if (held && again) {
		held.ours = false;
		say($("note"), "You were away. If nobody else has your pickup, it comes back to you.");
	}
	try {
		await me.ask("room:join", CREW);
		// Consuming ends with the connection, too.
		if (onDuty)
			await me.ask("queue:consume", PICKUPS, { prefetch: 1 });
		$("fault").textContent = "";
		standing();
	} catch (error) {
		$("fault").textContent = `You get no pickups: ${error.message}.`;
	}
	draw();
}

/* Off duty no pickup comes any more; the one in hand is still to be delivered. */
async function setDuty(on) {
	$("duty").disabled = true;
	$("fault").textContent = "";
	try {
		await me.ask(...(on ? ["queue:consume", PICKUPS, { prefetch: 1 }] : ["queue:stop", PICKUPS]));
		onDuty = on;
		sessionStorage.setItem("parcels.duty", on ? me.user : "");
		standing();
	} catch (error) {
		$("fault").textContent = `That did not work: ${error.message}.`;
	}
	draw();
}

/* --- the pickup ---------------------------------------------------------------------- */

function onPickup({ attempt, payload }, ack) {
	const parcel = parcelOf(payload);
	if (!parcel) {
		// Not ours to lose: it fails, and after so many failures it is set aside.
		ack({ error: "this is no pickup" });
		return;
	}
	// Delivered, but the connection was lost before the queue knew.
	if (memory.done.some((d) => d.parcel.id === parcel.id)) {
		ack({ ok: true });
		return;
	}
	if (held && held.parcel.id !== parcel.id)
		say($("note"), `“${held.parcel.what}” went to another driver.`);
	else
		say($("note"), "");
	const onRoad = memory.onRoad.includes(parcel.id);
	held = { parcel, attempt, ack, step: onRoad ? "in transit" : "taken", ours: true };
	$("pickup-fault").textContent = "";
	tellHub(held, held.step);
	draw();
}

async function next() {
	const { parcel, step } = held;
	const reached = step === "taken" ? "in transit" : "delivered";
	busy = true;
	$("pickup-fault").textContent = "";
	draw();
	try {
		// The vendor first: should we be gone after that, it hears the same from the next
		// driver, and once is enough for it. With a key, what is tried again is there once.
		const news = { parcel, step: reached, driver: me.user, at: Date.now() };
		await me.ask("queue:push", mailbox(parcel.vendor), news, { group: "news", key: `${parcel.id}:${reached}` });
		remember(parcel, reached);
		if (isHeld(parcel))
			go(reached);
	} catch (error) {
		if (isHeld(parcel))
			$("pickup-fault").textContent = `The vendor could not be told: ${error.message}.`;
	}
	busy = false;
	draw();
}

/* While an answer was waited for, the connection may have come and gone, and with it the
 * pickup: another one is in hand now, or the same one with another ack. */
function isHeld(parcel) {
	return held?.parcel.id === parcel.id;
}

/* The one in hand is so far; with the delivery it is the queue's no more. */
function go(step) {
	tellHub(held, step);
	held.step = step;
	if (step !== "delivered")
		return;
	held.ack({ ok: true });
	held = null;
}

/* A failure, to the queue: after a moment another one gets it. Not we, who are off duty. */
async function handBack() {
	const { parcel } = held;
	if (onDuty)
		await setDuty(false);
	if (onDuty || !isHeld(parcel))
		return;
	remember(parcel, "handed back");
	tellHub(held, "handed back");
	held.ack({ error: `handed back by ${me.name}` });
	held = null;
	say($("note"), `“${parcel.what}” is back in the queue. You are off duty.`);
	draw();
}

/* Should it come again: after a reload, or because the queue does not know yet. */
function remember(parcel, step) {
	memory.onRoad = memory.onRoad.filter((id) => id !== parcel.id);
	if (step === "in transit")
		memory.onRoad = [parcel.id, ...memory.onRoad].slice(0, KEEP);
	if (step === "delivered")
		memory.done = [{ parcel, at: Date.now() }, ...memory.done].slice(0, KEEP);
	save(me.user, memory);
}

/* --- the hub ------------------------------------------------------------------------- */

function tellHub({ parcel, attempt }, step) {
	me.socket.emit("room:emit", BOARD, "parcel", { parcel, step, attempt });
}

function standing() {
	const parcels = held?.ours ? [{ parcel: held.parcel, step: held.step, driver: me.user }] : [];
	me.socket.emit("room:emit", BOARD, "standing", { parcels, onDuty });
}

/* --- drawing ------------------------------------------------------------------------- */

function draw() {
	const there = me.socket.connected;
	$("duty-title").textContent = onDuty ? "You are on duty" : "You are off duty";
	$("duty-text").textContent = onDuty
		? (held ? "The next pickup comes when this one is delivered." : "The next pickup is yours if no other driver is quicker.")
		: (held ? "Deliver the one you have; no other comes." : "No pickups come to you.");
	$("duty").textContent = onDuty ? "Go off duty" : "Go on duty";
	$("duty").classList.toggle("primary", !onDuty);
	$("duty").disabled = !there || busy;
	document.body.dataset.duty = onDuty ? "on" : "off";

	$("pickup").hidden = !held;
	if (held)
		drawPickup(held, there);

	$("none").hidden = memory.done.length > 0;
	$("forget").hidden = memory.done.length === 0;
	$("done").replaceChildren(...memory.done.map(({ parcel, at }) =>
		el("li", "", time(at), el("span", "", el("b", "", parcel.what), ` to ${parcel.to}`))));
}

function drawPickup({ parcel, attempt, step, ours }, there) {
	$("pickup").dataset.step = ours ? step : "lost";
	$("pickup").dataset.id = parcel.id;
	$("pickup-state").textContent = !there ? "Yours, if you are back in time" : !ours ? "Is it still yours?" : step === "taken" ? "Yours: go and fetch it" : "On the road";
	$("pickup-what").textContent = parcel.what;
	$("pickup-from").textContent = nameOf(parcel.vendor, "vendor");
	$("pickup-to").textContent = parcel.to;
	$("pickup-id").textContent = parcel.id;
	say($("pickup-note"), attempt > 1 && step === "taken" ? "It was given out before, so somebody may have picked it up already." : "");
	$("next").textContent = step === "taken" ? "Picked up" : "Delivered";
	$("next").disabled = $("back").disabled = !there || busy || !ours;
}
